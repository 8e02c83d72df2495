"""A small PBX: registrar and call router for a LAN, for tests and for SIP door stations.

    from flexosip.pbx import Pbx

    async with Pbx(users={"bell": "secret-1", "house": "secret-2"}, listen=("127.0.0.1:5060",)):
        ...

Users call each other by name; `**9` rings everybody but the caller. Sound goes directly from phone to phone.
"""

from flexosip.pbx.location import Binding, LocationTable
from flexosip.pbx.pbx import Pbx, PbxEvent

__all__ = ["Binding", "LocationTable", "Pbx", "PbxEvent"]
