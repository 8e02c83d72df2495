"""What the domain name system says: the few kinds of records that lead to a SIP server.

RFC 1035 §3.4, RFC 2782 (SRV), RFC 3403 (NAPTR), RFC 3596 (AAAA)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["AddressRecord", "DnsAnswer", "DnsRecord", "NaptrRecord", "RecordKind", "ServiceRecord"]

RecordKind = Literal["A", "AAAA", "SRV", "NAPTR"]


@dataclass(frozen=True, slots=True)
class AddressRecord:
    """A or AAAA: the numeric address of a name."""

    ip: str


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """SRV: where a service runs. Lower priorities come first; among equal ones the weight is a share of the load."""

    priority: int
    weight: int
    port: int
    target: str
    """host name without a final dot; "" says that the service is decidedly not offered here (RFC 2782)"""


@dataclass(frozen=True, slots=True)
class NaptrRecord:
    """NAPTR: which services a domain offers, and the name to ask for each. Lower orders come first, then lower preferences."""

    order: int
    preference: int
    flags: str
    """in lower case: `s` leads to SRV, `a` to addresses"""
    service: str
    """in upper case, for example `SIP+D2U`"""
    regexp: str
    replacement: str
    """name without a final dot"""


DnsRecord = AddressRecord | ServiceRecord | NaptrRecord


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """The records of one name and kind; none if there is no such name or it has no such record."""

    records: tuple[DnsRecord, ...]
    ttl: float
    """seconds for which this is good, as the name server says: 0 is possible, and so are years"""
