"""Virtual time and a virtual network: whole calls in milliseconds, with loss and delay, the same again from the same seed.

clock.py     VirtualClock: an asyncio loop that jumps from deadline to deadline
network.py   VirtualNetwork: hosts, links, names, observers
host.py      VirtualHost: one machine, what `Phone(network=...)` takes
link.py      LinkSettings: what happens to packets between two addresses
datagram.py  UDP sockets, called back (SIP) or polled (RTP)
stream.py    TCP connections
names.py     VirtualDns: SRV, NAPTR, time to live, name servers that are silent
nat.py       VirtualNat: a router with address translation
faults.py    partitions and outages; packets lost for what is in them
"""

from __future__ import annotations

from flexosip.simulation.clock import Standstill, VirtualClock
from flexosip.simulation.faults import Dropped, Partition
from flexosip.simulation.host import VirtualHost
from flexosip.simulation.link import LinkSettings, Packet
from flexosip.simulation.names import VirtualDns
from flexosip.simulation.nat import VirtualNat
from flexosip.simulation.network import VirtualNetwork

__all__ = [
    "Dropped",
    "LinkSettings",
    "Packet",
    "Partition",
    "Standstill",
    "VirtualClock",
    "VirtualDns",
    "VirtualHost",
    "VirtualNat",
    "VirtualNetwork",
]
