"""Talking with a caller by keys: collect digits, offer menus.

`Call.gather` and `Call.menu` are the usual doors to this room. `collect` is the machine without a clock, `menu` the part that
plays prompts and waits. `AGAIN` and `BACK` steer a menu from its handlers.
"""

from flexosip.ivr.collect import ChoiceCollector, DigitCollector, Digits
from flexosip.ivr.menu import AGAIN, BACK, MenuStep

# The function `menu` is not repeated here: it would hide the module of that name.
__all__ = ["AGAIN", "BACK", "ChoiceCollector", "DigitCollector", "Digits", "MenuStep"]
