"""Where the peers are that Debian 12 does not package, and what is said of those that are absent."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT.parent / "shared" / "lab"
"""Scripts beside the project that start peers of other suites."""

FOLDER = Path(os.environ.get("FLEXOSIP_PEERS") or Path.home() / ".cache" / "flexosip-peers")
ASTERISK_TREE = FOLDER / "asterisk"
"""A tree of another Debian suite with Asterisk in it."""
PJSIP_PYTHON = FOLDER / "pjsip" / "bin" / "python"
"""A Python that has the wheel pjsua2-python."""

PACKAGES = {"sipp": "sip-tester", "baresip": "baresip-core", "kamailio": "kamailio", "linphonec": "linphone-cli"}
"""Program of each packaged peer and the Debian package that brings it."""

MODULES = {"kamailio-tls": "tls.so", "kamailio-websocket": "websocket.so"}
"""Modules of Kamailio that come in packages of their own, `NAME-modules`."""


def absence_of(peer: str) -> str | None:
    """Why the peer cannot be used, None if it can."""
    if peer == "asterisk":
        if not (LAB / "asterisk.sh").exists():
            return "peer asterisk is absent (the scripts beside the project, ../shared/lab, are not there)"
        if not (ASTERISK_TREE / "usr" / "sbin" / "asterisk").exists():
            return f"peer asterisk is absent (no tree in {ASTERISK_TREE}; see .ci/run)"
        return None
    if peer == "pjsip":
        return None if PJSIP_PYTHON.exists() else f"peer pjsip is absent (no {PJSIP_PYTHON}; see .ci/run)"
    if peer in MODULES:
        found = any(Path("/usr").glob(f"lib*/**/kamailio/modules/{MODULES[peer]}"))
        return None if found else f"peer {peer} is absent (apt-get install {peer}-modules)"
    return None if shutil.which(peer) is not None else f"peer {peer} is absent (apt-get install {PACKAGES[peer]})"


def is_required(peer: str) -> bool:
    """True where the peer must be there: `FLEXOSIP_REQUIRE_PEERS` names it, or is "1" and the peer is a package of Debian."""
    named = os.environ.get("FLEXOSIP_REQUIRE_PEERS", "")
    return peer in named.split(",") or (named == "1" and (peer in PACKAGES or peer in MODULES))
