"""What goes wrong with TLS, in words: whose certificate is refused and why, and what to do about it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from typing import Any

from flexosip.advice import advice_for
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
            return CertificateError(f"{where} showed no certificate, which is required here.", advice=_advice("caller without"))
        return CertificateError(
            f"{where} wants a certificate of ours, or shares no cipher with us.", advice=_advice("client wanted")
        )
    if any(word in reason for word in _CLIENT_CERTIFICATE_REFUSED):
        if domain is None:
            return CertificateError(f"{where} does not trust our certificate ({_plain(reason)}).", advice=_advice("caller distrusts"))
        return CertificateError(
            f"{where} refuses our own certificate ({_plain(reason)}).",
            advice=_advice("client refused"),
        )
    if any(word in reason for word in _OLD_TLS):
        return NetworkError(f"{where} speaks no TLS version that is still safe.", advice=_advice("old TLS"))
    if any(word in reason for word in _NO_TLS):
        return NetworkError(f"What {where} speaks is no TLS.", advice=_advice("no TLS"))
    if isinstance(error, ssl.SSLEOFError) or (isinstance(error, ssl.SSLError) and "UNEXPECTED_EOF" in reason):
        return NetworkError(f"{where} ended the TLS connection without a word.", advice=_advice("ended"))
    return NetworkError(f"TLS with {where} failed: {_plain(reason) or error}.", advice=_advice("failed"))


def _unverified(whose: str, error: ssl.SSLCertVerificationError) -> CertificateError:
    code = error.verify_code
    if code == _EXPIRED:
        return CertificateError(
            f"The certificate of {whose} has expired.", advice=_advice("expired")
        )
    if code == _NOT_YET_VALID:
        return CertificateError(f"The certificate of {whose} is not valid yet.", advice=_advice("not yet valid"))
    if code == _SELF_SIGNED:
        return CertificateError(
            f"The certificate of {whose} is self-signed: nobody vouches for it.",
            advice=_advice("self-signed"),
        )
    if code in _UNTRUSTED:
        return CertificateError(
            f"The certificate of {whose} was issued by an authority that is not trusted here.",
            advice=_advice("untrusted"),
        )
    if code == _REVOKED:
        return CertificateError(f"The certificate of {whose} has been revoked.", advice=_advice("revoked"))
    if code in _WEAK:
        return CertificateError(f"The certificate of {whose} uses a key or a digest that is too weak.", advice=_advice("weak"))
    return CertificateError(f"The certificate of {whose} cannot be verified: {error.verify_message}.", advice=_advice("unverified"))


def validity_failure(remote: Address, domain: str, certificate: Mapping[str, Any], now: float) -> CertificateError | None:
    """A certificate outside of its time, with the date; None if the time is not what is wrong with it."""
    where = f"{domain} ({format_address(remote)})"
    until, since = certificate.get("notAfter"), certificate.get("notBefore")
    if until is not None and now > (end := ssl.cert_time_to_seconds(until)):
        return CertificateError(
            f"The certificate of {where} has expired on {_date(end)}.", advice=_advice("expired")
        )
    if since is not None and now < (start := ssl.cert_time_to_seconds(since)):
        return CertificateError(f"The certificate of {where} is not valid before {_date(start)}.", advice=_advice("not yet valid"))
    return None


def wrong_name(remote: Address, domain: str, names: CertificateNames, *, web: bool = False) -> CertificateError:
    """The certificate is good, but somebody else's; `web` as for `CertificateNames.covers`."""
    listed = names.counting(web=web)
    shown = ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") if listed else "nobody"
    wildcard = not web and any(name.startswith("*.") for name in listed)
    hidden = not web and names.sip_domains and names.dns
    return CertificateError(
        f"The certificate of {format_address(remote)} is for {shown}, you connect to {domain}.",
        advice=(_advice("wildcard") + " " if wildcard else _advice("sip name") + " " if hidden else "") + _advice("wrong name"),
    )


def handshake_timeout(remote: Address, seconds: float) -> NetworkError:
    """The peer took the connection and then said nothing, or not enough."""
    return NetworkError(
        f"{format_address(remote)} did not complete the TLS handshake in {seconds:g} s.", advice=_advice("handshake")
    )


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _plain(reason: str) -> str:
    for prefix in ("TLSV13_ALERT_", "TLSV1_ALERT_", "SSLV3_ALERT_", "TLSV1_"):
        reason = reason.removeprefix(prefix)
    return reason.lower().replace("_", " ")


def _advice(name: str) -> str:
    return str(advice_for(f"certificate {name}"))
