"""What the exit code says: 0 done, 1 a bug of ours, 2 to 8 why not, 130 interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.errors import (
    AuthenticationError,
    Busy,
    CallEnded,
    CallFailed,
    ConfigurationError,
    Declined,
    MediaError,
    NetworkError,
    NoAnswer,
    RegistrationFailed,
    RemoteProtocolError,
    RequestFailed,
)

if TYPE_CHECKING:
    from flexosip import CallEnd

__all__ = ["BUG", "DECLINED", "DONE", "INTERRUPTED", "NO_ANSWER", "USAGE", "exit_code"]

DONE = 0
BUG = 1
USAGE = 2
NO_ANSWER = 3
DECLINED = 4
CREDENTIALS = 5
NETWORK = 6
MEDIA = 7
REJECTED = 8
INTERRUPTED = 130


def exit_code(error: BaseException, *, end: CallEnd | None = None, rang: bool = False) -> int:
    """The code for an error.

    Args:
        end: how the call ended that the error is about. rang: it had been ringing.
    """
    if isinstance(error, CallFailed):
        return _call_code(error, end, rang)
    table: tuple[tuple[type[BaseException], int], ...] = (
        (ConfigurationError, USAGE),
        (AuthenticationError, CREDENTIALS),
        (NetworkError, NETWORK),
        (MediaError, MEDIA),
        (CallEnded, DONE),
        (RemoteProtocolError, REJECTED),
    )
    for kind, code in table:
        if isinstance(error, kind):
            return code
    if isinstance(error, RequestFailed):
        return _request_code(error.status)
    if isinstance(error, RegistrationFailed):
        return NETWORK if error.status == 408 or error.status >= 500 else REJECTED
    # LocalProtocolError, InvalidState: we asked our own library for what it cannot do
    return BUG


def _request_code(status: int) -> int:
    if status in (408, 480):
        return NO_ANSWER
    if status in (486, 600, 603, 403):
        return DECLINED
    return NETWORK if status in (500, 502, 503, 504) else REJECTED


def _call_code(error: CallFailed, end: CallEnd | None, rang: bool) -> int:
    if isinstance(error, NoAnswer):
        return NO_ANSWER
    if isinstance(error, Busy | Declined):
        return DECLINED
    if end is not None and end.by in ("timeout", "error"):
        # nobody refused: nothing came back, or nothing could be sent
        return NETWORK
    if error.status in (408, 480) or (rang and error.status == 487):
        return NO_ANSWER
    if error.status in (500, 502, 503, 504):
        return NETWORK
    return MEDIA if error.status in (488, 606) else REJECTED
