"""Setting an account up at the box or PBX of the house: finding it, making a telephone in it, writing the settings.

All of it waits on the network; asynchronous programs call it in a thread.
"""

from __future__ import annotations

from flexosip.provisioning.discovery import find_box
from flexosip.provisioning.fritzbox import CLICKS, IpPhone, create_ip_phone, new_password
from flexosip.provisioning.settings_files import write_account, write_bell
from flexosip.provisioning.tr064 import Box, BoxRefused

__all__ = ["CLICKS", "Box", "BoxRefused", "IpPhone", "create_ip_phone", "find_box", "new_password", "write_account", "write_bell"]
