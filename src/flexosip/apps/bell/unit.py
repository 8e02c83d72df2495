"""The bell as a systemd service: the text of its unit (systemd.service(5), systemd.exec(5))."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["unit_text"]


def unit_text(
    config: Path | None = None, *, python: str = sys.executable, groups: Iterable[str] = ("gpio",), credentials: Iterable[Path] = ()
) -> str:
    """The unit, ready for /etc/systemd/system/flexosip-bell.service.

    Args:
        config: the settings file; None: searched for as `flexosip bell` does.
        python: the interpreter that has flexosip.
        groups: groups of the machine that may use GPIO; empty where there are none (systemd refuses unknown groups).
        credentials: files that only root may read and the bell needs, such as its password file.
    """
    command = f"{_quoted(python)} -m flexosip bell --json" + (f" --config {_quoted(str(config.absolute()))}" if config is not None else "")
    lines = [f"LoadCredential={path.name}:{path}" for path in credentials]
    members = " ".join(groups)
    if members:
        lines.append(f"SupplementaryGroups={members}")
    extra = "".join(f"{line}\n" for line in lines)
    return f"""\
# Put this into /etc/systemd/system/flexosip-bell.service, then:
#   systemctl daemon-reload && systemctl enable --now flexosip-bell
# What happens: journalctl -u flexosip-bell -f
# The service runs as a user of its own, who must be able to read the settings and {python}
# (a virtual environment below /root is out of reach; /opt/flexosip is a good place).
[Unit]
Description=flexosip bell: rings phones when something moves
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={command}
# A mistake in the settings (2) or a wrong password (5) does not get better by trying again.
Restart=on-failure
RestartPreventExitStatus=2 5
# ended by systemctl stop
SuccessExitStatus=130
RestartSec=10
TimeoutStopSec=5
DynamicUser=yes
StateDirectory=flexosip
# lgpio writes a file into its working folder
WorkingDirectory=%S/flexosip
Environment=PYTHONUNBUFFERED=1
{extra}NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictSUIDSGID=yes
LockPersonality=yes

[Install]
WantedBy=multi-user.target
"""


def _quoted(text: str) -> str:
    """A word of a command line in a unit: `%` begins a specifier, `$` a variable, blanks divide."""
    text = text.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    return f'"{text}"' if any(character.isspace() for character in text) else text
