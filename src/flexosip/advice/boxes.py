"""What a router says when an account is set up in it (TR-064)."""

from __future__ import annotations

from typing import Final

from flexosip.advice.entry import Advice

__all__ = ["BOXES"]

BOXES: Final[dict[str, Advice]] = {
    "not found": Advice(
        "A FRITZ!Box answers only in its own network, and only while apps are allowed to reach it.",
        "Give its address with --host, and switch on Home Network, Network, Network Settings, Allow access for applications (TR-064).",
    ),
    "password": Advice(
        "It is the password of a user of the box that is wanted, not that of a telephone.",
        "Give --box-user and --box-password-file of a user with the right to change settings (System, FRITZ!Box Users).",
    ),
    "not allowed": Advice(
        "That user of the box may not change telephony.", "Give him the right FRITZ!Box Settings, or take another --box-user."
    ),
    "characters": Advice("The box does not take some character in a name or password.", "Take letters and digits only."),
    "internal": Advice("The box could not store it: all ten places may be taken.", "Delete an IP phone in the box that is not used."),
    "second factor": Advice(
        "The box wants somebody to confirm the change on the spot.",
        "Run it again and press a key on the box, or dial the code that is shown, within two minutes.",
    ),
    "refused": Advice("The box has a reason of its own, or too old a version.", "Do it by hand: without --box-user the clicks are told."),
}
"""By what went wrong."""
