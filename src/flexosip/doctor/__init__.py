"""Why a phone does not work: an examination from the machine up to the sound, one finding after the other, each with its remedy.

    for finding in await examine("sip:620@fritz.box", password="SECRET"):
        print(finding.level, finding.id, finding.found, finding.remedy)

Nothing that it does can lock an account: a password is shown at most twice where it is refused. The words of causes and remedies are
those of `flexosip.advice`.
"""

from __future__ import annotations

from flexosip.doctor.examination import examine
from flexosip.doctor.finding import Finding
from flexosip.doctor.machine import Machine

__all__ = ["Finding", "Machine", "examine"]
