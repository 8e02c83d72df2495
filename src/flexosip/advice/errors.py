"""Errors of the library that stand for themselves, by the name of their class."""

from __future__ import annotations

from typing import Final

from flexosip.advice.entry import Advice

__all__ = ["ERRORS"]

ERRORS: Final[dict[str, Advice]] = {
    "FlexosipError": Advice("", "Run the command with -v, or set logging to INFO, to see what happened before."),
    "ConfigurationError": Advice("", "Correct the setting and start again."),
    "MissingExtra": Advice("", "Install it with: pip install 'flexosip[{extra}]'"),
    "AuthenticationError": Advice(
        "The server does not know this user with this password.",
        "Check user name and password. Some providers want a separate auth_user (the SIP id). Several wrong tries can lock the account "
        "or this address for some time.",
    ),
    "NoAnswer": Advice("Nobody answered.", "Ring longer (ring_timeout) or call another number."),
    "CallBarred": Advice("", "If the call is meant, change the CallPolicy of this phone; the command has --allow-prefix, --deny-prefix."),
    "TransferRefused": Advice(
        "Many phones and providers do not allow transfers: 405 and 501 not implemented, 403 and 603 not allowed.",
        "Ask for the permission there, or call the target yourself.",
    ),
    "TransferTimeout": Advice("The target may still ring.", "Wait longer (timeout), or go on talking and try again."),
    "CallReplaced": Advice("", "Go on with `error.call`, which is answered."),
    "CallEnded": Advice("That is how a call ends.", "Leave the handler, or catch CallEnded for work after the call."),
    "NetworkError": Advice("", "Check the network, the host name and the port."),
    "ServerUnreachable": Advice(
        "A FRITZ!Box answers only in its own network, and not at all to a user name it does not know.",
        "Check host name, port, user name and transport (udp or tcp), and that no firewall drops the packets.",
    ),
    "CertificateError": Advice("", "Check the account's domain, or give the certificate authority's file."),
    "MediaError": Advice("", "Check the file: WAV is read by the base, other formats by the extra 'audio'."),
    "MediaTimeout": Advice("A firewall or NAT on the way may block RTP, or the other side has gone.", "Run flexosip doctor --call TARGET."),
    "InvalidState": Advice("", "See the state of the call or phone first."),
    "RemoteProtocolError": Advice("The other side is at fault.", "With -vv you see what it sent."),
}
"""An empty cause: the error's message says all of it."""
