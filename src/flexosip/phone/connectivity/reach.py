"""How others reach a phone: the address it tells, the identity it keeps, and what keeps the way to it open.

RFC 5626 §4.1, §4.2, §4.4; RFC 2474 (DSCP), RFC 3246, RFC 4594
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flexosip.errors import ConfigurationError
from flexosip.net.address import Address, canonical_ip, is_host_name, parse_listen
from flexosip.phone.values import checked_text

if TYPE_CHECKING:
    from flexosip.net.network import Network

__all__ = ["Reach", "state_folder"]

logger = logging.getLogger(__name__)

KEEP_ALIVES = ("auto", "crlf", "stun", "options", "none")
_INSTANCE_FILE = "instance"


@dataclass(frozen=True, slots=True)
class Reach:
    """How others reach us.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    advertise: str | None = None
    """`HOST[:PORT]` that Contact, Via and SDP tell instead of our own address: in a container, or behind a NAT with a fixed mapping. The
    port is that of SIP; ports of sound are told as they are, so they must be mapped one to one."""
    stun_server: str | None = None
    """`HOST[:PORT]` of a STUN server (RFC 8489) that tells our public address before the first request, for servers that do not."""
    outbound: bool | str = False
    """Ask for RFC 5626: one binding for each device, calls over the way that the registration took. `auto`: with public servers only.
    A FRITZ!Box wants none of it."""
    instance_id: str | None = None
    """`urn:uuid:...` of this device, the same for ever; None: kept in `state`, or made anew each time."""
    state: str | os.PathLike[str] | None = None
    """Folder in which the device's identity is kept, so that after a crash the new registration takes the place of the old one."""
    keep_alive: str = "auto"
    """What keeps a NAT open towards a server by UDP: `crlf`, `stun` (the server must know it), `options`, or `none`. `auto`: crlf where the
    server is public or sees us behind a NAT, nothing in the house."""
    keep_alive_interval: float = 25.0
    """Seconds; most NATs forget after 30 to 180 (RFC 5626 §4.4.2: 24 to 29)."""
    signalling_dscp: int | None = 24
    """Mark of our SIP packets for routers: CS3 (RFC 4594). None: unmarked."""
    media_dscp: int | None = 46
    """Mark of our sound: EF."""

    def __post_init__(self) -> None:
        if self.outbound not in (True, False, "auto"):
            raise ConfigurationError(f"outbound={self.outbound!r}: allowed are True, False and 'auto'.")
        if self.keep_alive not in KEEP_ALIVES:
            raise ConfigurationError(f"keep_alive={self.keep_alive!r}: allowed are {', '.join(KEEP_ALIVES)}.")
        if not 5 <= self.keep_alive_interval <= 3600:
            raise ConfigurationError(f"keep_alive_interval={self.keep_alive_interval}: 5 to 3600 seconds.")
        for name, value in (("signalling_dscp", self.signalling_dscp), ("media_dscp", self.media_dscp)):
            if value is not None and not 0 <= value <= 63:
                raise ConfigurationError(f"{name}={value}: a DSCP is a number from 0 to 63, or None.")
        if self.instance_id is not None:
            _checked_instance(self.instance_id)
        for text, what in ((self.advertise, "advertise"), (self.stun_server, "stun_server")):
            if text is not None:
                _host_and_port(text, what)

    @property
    def advertised(self) -> tuple[str, int | None] | None:
        """Host and port of `advertise`."""
        return _host_and_port(self.advertise, "advertise") if self.advertise is not None else None

    @property
    def stun_address(self) -> Address | None:
        """Host and port of `stun_server`; the host may be a name."""
        if self.stun_server is None:
            return None
        host, port = _host_and_port(self.stun_server, "stun_server")
        return host, port or 3478

    def mark(self, network: Network) -> None:
        """Have the sockets of `network` marked."""
        network.mark(self.signalling_dscp, self.media_dscp)

    def instance(self, make: uuid.UUID) -> str:
        """The URN of this device: as told, or as kept in the state folder, or else `make`, which is then kept there."""
        if self.instance_id is not None:
            return self.instance_id
        if self.state is None:
            return make.urn
        path = Path(self.state).expanduser() / _INSTANCE_FILE
        try:
            return _checked_instance(path.read_text(encoding="ascii").strip())
        except FileNotFoundError:
            logger.debug("%s is made", path)
        except (OSError, UnicodeError, ConfigurationError) as error:
            logger.warning("%s cannot be used, a new identity is made: %s", path, error)
        _keep(path, make.urn)
        return make.urn

    def contact_user(self, aor: str, make: uuid.UUID) -> str | None:
        """The user part of our Contact that stays the same over restarts, and that nobody can guess; None: any will do."""
        if self.instance_id is None and self.state is None:
            return None
        key = self.instance(make).encode("ascii")
        return hashlib.blake2b(aor.encode("utf-8"), key=key[-36:], digest_size=12).hexdigest()


def state_folder() -> Path:
    """Where programs of a user keep what must survive a restart: `$XDG_STATE_HOME/flexosip`, else `~/.local/state/flexosip`."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "flexosip"


def _checked_instance(text: str) -> str:
    try:
        if not text.lower().startswith("urn:uuid:"):
            raise ValueError
        return uuid.UUID(text[9:]).urn
    except ValueError:
        raise ConfigurationError(f"instance_id={text[:80]!r}: give a URN like urn:uuid:00000000-0000-1000-8000-000A95A0E128.") from None


def _host_and_port(text: str, what: str) -> tuple[str, int | None]:
    checked_text(text, what)
    host, port = parse_listen(text)
    if (canonical_ip(host) is None and not is_host_name(host)) or host in ("0.0.0.0", "::"):
        raise ConfigurationError(f"{what}={text!r}: give HOST[:PORT] under which others reach it.")
    told = text.rpartition("]")[2].count(":") == 1 or (text.count(":") == 1)
    return host, port if told else None


def _keep(path: Path, text: str) -> None:
    """Write whole or not at all; who cannot write goes on without."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(f"{text}\n")
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        logger.warning("the identity of this device cannot be kept in %s: %s", path, error.strerror or error)
