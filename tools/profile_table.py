"""Print the table of docs/profiles.md, made of the profiles' files; `--write` puts it there."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from flexosip import Profile

PAGE = Path(__file__).resolve().parents[1] / "docs" / "profiles.md"
BEGIN, END = "<!-- made by tools/profile_table.py -->", "<!-- end of what is made -->"
_SHOWN = {"from": "From", "ppi": "P-Preferred-Identity", "pai": "P-Asserted-Identity", "rpid": "Remote-Party-ID", "diversion": "Diversion"}
_WRITTEN = {"as_written": "", "e164": " +49…", "digits": " 49…", "national": " 0…"}


def files() -> list[Path]:
    """The profiles of the library, a user's own left out."""
    return sorted(Path(inspect.getfile(Profile)).parent.glob("*.toml"))


def row(profile: Profile) -> str:
    """A line of the table."""
    account, rules, identity = profile.account, profile.server_rules, profile.identity
    registers = "no" if account.get("register") is False else f"{account.get('expires', 3600):g} s"
    known = ((rules.everybody, "all phones"), (rules.internal, "house"), (rules.pickup_code, "pickup"))
    codes = [f"`{code}` {what}" for code, what in known if code]
    shown = _SHOWN[identity.number] + _WRITTEN[rules.caller_id]
    special = [
        *(["the Contact is the number"] if rules.account_contact else []),
        *(["guest without password"] if profile.guest else []),
        *(["dials +49… only"] if rules.dialled == "e164" else []),
    ]
    cells = (
        f"`Phone.{profile.name}`", profile.title, f"`{profile.domain}`" if profile.domain else f"`host=`, e.g. `{profile.example}`",
        account.get("transport", "udp, tcp"), registers, shown, ", ".join([*codes, *special]),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def notes(profile: Profile) -> str:
    """What the profile wants people to know."""
    lines = [f"- {note.text}{'' if note.verified else ' *Unverified.*'} ({note.source})" for note in profile.notes]
    return "\n".join([f"**{profile.title}**", "", *lines])


def table() -> str:
    """Table and notes."""
    profiles = [Profile.find(path) for path in files()]
    head = ["| phone | what | domain | transport | registers for | number shown in | codes and specials |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*head, *map(row, profiles), "", "\n\n".join(map(notes, profiles))])


def page(text: str) -> str:
    """The page with the table as the files have it."""
    return re.sub(f"{BEGIN}.*{END}", lambda match: f"{BEGIN}\n\n{table()}\n\n{END}", text, flags=re.DOTALL)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table())
