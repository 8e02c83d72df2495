"""A bell: something moves or somebody presses a button, and phones ring; call it to hear and change its mode."""

from __future__ import annotations

from flexosip.apps.bell.bell import Bell, create_phone
from flexosip.apps.bell.config import AccountSettings, BellConfig, Destination, TriggerSettings, find_config, load_config
from flexosip.apps.bell.store import Store

__all__ = ["AccountSettings", "Bell", "BellConfig", "Destination", "Store", "TriggerSettings", "create_phone", "find_config", "load_config"]
