"""SRV and NAPTR through dnspython, which knows more of a machine's DNS settings than our own client (extra `dns`)."""

from __future__ import annotations

import socket
from typing import Any

from flexosip import extras
from flexosip.net.dns_records import AddressRecord, DnsAnswer, DnsRecord, NaptrRecord, RecordKind, ServiceRecord
from flexosip.net.failures import lookup_failure, no_name_server

__all__ = ["DnsLibrary"]

_LIFETIME = 5.0
"""Seconds for all tries of one question together."""
_NEGATIVE_TTL = 60.0


class DnsLibrary:
    """Asks name servers through dnspython.

    Args:
        resolver: a `dns.asyncresolver.Resolver`; None: one with the system's settings.

    Raises:
        MissingExtra: dnspython is not installed.
        NetworkError: the system has no DNS settings that it could read.
    """

    def __init__(self, resolver: Any = None) -> None:
        self._exceptions = extras.require("dns", "dns.exception", "Looking up SRV and NAPTR records with dnspython")
        self._answers = extras.require("dns", "dns.resolver", "Looking up SRV and NAPTR records with dnspython")
        if resolver is None:
            module = extras.require("dns", "dns.asyncresolver", "Looking up SRV and NAPTR records with dnspython")
            try:
                resolver = module.Resolver()
            except self._exceptions.DNSException as error:
                raise no_name_server("", str(error)) from error
        self._resolver = resolver

    async def resolve_dns(self, name: str, kind: RecordKind) -> DnsAnswer:
        """The records of that kind; none of them if there is no such name.

        Raises:
            NetworkError: no name server answers, or `name` is no domain name.
        """
        resolver_errors = self._answers
        try:
            answer = await self._resolver.resolve(name.rstrip(".") + ".", kind, raise_on_no_answer=False, lifetime=_LIFETIME)
        except resolver_errors.NXDOMAIN:
            return DnsAnswer((), _NEGATIVE_TTL)
        except (resolver_errors.NoNameservers, resolver_errors.LifetimeTimeout, OSError) as error:
            raise no_name_server(name, type(error).__name__) from error
        except self._exceptions.DNSException as error:
            raise lookup_failure(name, socket.gaierror(socket.EAI_NONAME, type(error).__name__)) from error
        if answer.rrset is None:
            return DnsAnswer((), _NEGATIVE_TTL)
        return DnsAnswer(tuple(_record(data, kind) for data in answer.rrset), float(answer.rrset.ttl))


def _record(data: Any, kind: RecordKind) -> DnsRecord:
    if kind == "SRV":
        return ServiceRecord(data.priority, data.weight, data.port, _name(data.target))
    if kind == "NAPTR":
        return NaptrRecord(
            data.order, data.preference, _text(data.flags).lower(), _text(data.service).upper(), _text(data.regexp), _name(data.replacement)
        )
    return AddressRecord(data.address)


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")


def _name(name: Any) -> str:
    return str(name.to_text(omit_final_dot=True)).lower() if len(name) > 1 else ""
