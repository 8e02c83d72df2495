"""An authority that issues certificates for the tests: for any names, valid at any time."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flexosip import TlsSettings

__all__ = ["Authority", "Issued"]

_HOUR = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority of one test.

    Args:
        folder: for its files; `certificate` is that of the authority itself.
        plain: without key usage and identifier, as `openssl req -x509` and the scripts of PBXs make them.
    """

    def __init__(self, folder: Path, name: str = "test authority", *, plain: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        own = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 24 * _HOUR)
            .not_valid_after(now + 24 * _HOUR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        own = own if plain else (
            own.add_extension(
                x509.KeyUsage(
                    digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
                    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        )  # fmt: skip
        self.certificate = folder / "authority.pem"
        self.certificate.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        self._issued = 0

    def issue(
        self,
        *dns: str,
        uris: Sequence[str] = (),
        addresses: Sequence[str] = (),
        common_name: str | None = None,
        starts: float = -1.0,
        ends: float = 12.0,
        self_signed: bool = False,
        place: Issued | None = None,
    ) -> Issued:
        """A certificate.

        Args:
            dns, uris, addresses: the subjectAltName; none of them: there is none.
            starts, ends: hours from now.
            self_signed: by itself instead of by the authority.
            place: write it over these files.
        """
        self._issued += 1
        if place is None:
            place = Issued(self.folder / f"{self._issued}.pem", self.folder / f"{self._issued}.key")
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name is not None else [])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts * _HOUR)
            .not_valid_after(now + ends * _HOUR)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
        names += [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not list(subject))
        signer = key if self_signed else self._key
        if not self_signed:
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            builder = builder.add_extension(identifier, critical=False)
        signed = builder.sign(signer, hashes.SHA256())
        place.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        place.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return place

    @property
    def trust(self) -> TlsSettings:
        """The settings of a client that trusts this authority."""
        return TlsSettings(ca=self.certificate)

    def server(self, *dns: str, **options: object) -> TlsSettings:
        """The settings of a server with a certificate of this authority; the options are those of `issue`."""
        issued = self.issue(*dns, **options)  # type: ignore[arg-type]
        return TlsSettings(ca=self.certificate, certificate=issued.certificate, key=issued.key)
