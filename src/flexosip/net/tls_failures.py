"""What goes wrong with TLS, in words: whose certificate is refused and why, and what to do about it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from typing import Any

from flexosip.errors import CertificateError, NetworkError
from flexosip.net.address import Address, format_address
from flexosip.net.certificate import CertificateNames

__all__ = ["TIME_CODES", "handshake_timeout", "tls_failure", "validity_failure", "wrong_name"]

_NOT_YET_VALID, _EXPIRED = 9, 10
TIME_CODES = (_NOT_YET_VALID, _EXPIRED)
"""Codes of OpenSSL's verification that speak of the date."""

_SELF_SIGNED = 18
_UNTRUSTED = (19, 20, 21)
_REVOKED = 23
_WEAK = (66, 67, 68)

_CLIENT_CERTIFICATE_WANTED = ("CERTIFICATE_REQUIRED", "ALERT_HANDSHAKE_FAILURE", "PEER_DID_NOT_RETURN_A_CERTIFICATE")
_CLIENT_CERTIFICATE_REFUSED = ("ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_", "ALERT_UNSUPPORTED_CERTIFICATE")
_OLD_TLS = ("UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE")
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "BAD_RECORD_TYPE")


def tls_failure(remote: Address, domain: str | None, error: Exception, *, has_certificate: bool = False) -> NetworkError:
    """Why a TLS connection did not come about, or ended.

    Args:
        domain: whom we wanted to reach; None: the peer connected to us.
        has_certificate: we could show one of our own.
    """
    where = format_address(remote)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _unverified(where if domain is None or domain == remote[0] else f"{domain} ({where})", error)
    reason: str = getattr(error, "reason", None) or ""
    if any(word in reason for word in _CLIENT_CERTIFICATE_WANTED) and not has_certificate:
        if domain is None:
            return CertificateError(f"{where} showed no certificate, which is required here.", advice="Give the client a certificate.")
        return CertificateError(
            f"{where} wants a certificate of ours, or shares no cipher with us.", advice="Give one with tls_certificate and tls_key."
        )
    if any(word in reason for word in _CLIENT_CERTIFICATE_REFUSED):
        if domain is None:
            return CertificateError(f"{where} does not trust our certificate ({_plain(reason)}).", advice="It needs our authority's file.")
        return CertificateError(
            f"{where} refuses our own certificate ({_plain(reason)}).",
            advice="Give one that the server's authority has issued, and that is valid.",
        )
    if any(word in reason for word in _OLD_TLS):
        return NetworkError(f"{where} speaks no TLS version that is still safe.", advice="TLS 1.2 or later is needed: update the server.")
    if any(word in reason for word in _NO_TLS):
        return NetworkError(f"What {where} speaks is no TLS.", advice="Check the port (5061 for TLS, 443 for wss) and the transport.")
    if isinstance(error, ssl.SSLEOFError) or (isinstance(error, ssl.SSLError) and "UNEXPECTED_EOF" in reason):
        return NetworkError(f"{where} ended the TLS connection without a word.", advice="Check that the port is one for TLS.")
    return NetworkError(f"TLS with {where} failed: {_plain(reason) or error}.")


def _unverified(whose: str, error: ssl.SSLCertVerificationError) -> CertificateError:
    code = error.verify_code
    if code == _EXPIRED:
        return CertificateError(
            f"The certificate of {whose} has expired.", advice="Its owner must renew it. Is this machine's clock right?"
        )
    if code == _NOT_YET_VALID:
        return CertificateError(f"The certificate of {whose} is not valid yet.", advice="Is this machine's clock right?")
    if code == _SELF_SIGNED:
        return CertificateError(
            f"The certificate of {whose} is self-signed: nobody vouches for it.",
            advice="If you trust it, give it as the authority: tls_ca=FILE, or --tls-ca FILE.",
        )
    if code in _UNTRUSTED:
        return CertificateError(
            f"The certificate of {whose} was issued by an authority that is not trusted here.",
            advice="Give the authority's certificate: tls_ca=FILE, or --tls-ca FILE.",
        )
    if code == _REVOKED:
        return CertificateError(f"The certificate of {whose} has been revoked.")
    if code in _WEAK:
        return CertificateError(f"The certificate of {whose} uses a key or a digest that is too weak.", advice="Its owner must renew it.")
    return CertificateError(f"The certificate of {whose} cannot be verified: {error.verify_message}.")


def validity_failure(remote: Address, domain: str, certificate: Mapping[str, Any], now: float) -> CertificateError | None:
    """A certificate outside of its time, with the date; None if the time is not what is wrong with it."""
    where = f"{domain} ({format_address(remote)})"
    until, since = certificate.get("notAfter"), certificate.get("notBefore")
    if until is not None and now > (end := ssl.cert_time_to_seconds(until)):
        return CertificateError(
            f"The certificate of {where} has expired on {_date(end)}.", advice="Its owner must renew it. Is this machine's clock right?"
        )
    if since is not None and now < (start := ssl.cert_time_to_seconds(since)):
        return CertificateError(f"The certificate of {where} is not valid before {_date(start)}.", advice="Is this machine's clock right?")
    return None


def wrong_name(remote: Address, domain: str, names: CertificateNames) -> CertificateError:
    """The certificate is good, but somebody else's."""
    listed = names.all
    shown = ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") if listed else "nobody"
    wildcard = any(name.startswith("*.") for name in listed)
    return CertificateError(
        f"The certificate of {format_address(remote)} is for {shown}, you connect to {domain}.",
        advice=("Wildcards are not valid for SIP domains (RFC 5922 §7.2). " if wildcard else "")
        + "The certificate must name the account's domain, also with a proxy: check the domain and the server.",
    )


def handshake_timeout(remote: Address, seconds: float) -> NetworkError:
    """The peer took the connection and then said nothing, or not enough."""
    return NetworkError(
        f"{format_address(remote)} did not complete the TLS handshake in {seconds:g} s.", advice="Check that the port is one for TLS."
    )


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _plain(reason: str) -> str:
    for prefix in ("TLSV13_ALERT_", "TLSV1_ALERT_", "SSLV3_ALERT_", "TLSV1_"):
        reason = reason.removeprefix(prefix)
    return reason.lower().replace("_", " ")
