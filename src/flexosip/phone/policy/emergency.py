"""Emergency numbers by country (ISO 3166 code), as their regulators publish them.

Which of them a server routes, and where to, is its business; this list only tells which calls need the word of the owner of the phone.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ANYWHERE", "EMERGENCY_NUMBERS"]

ANYWHERE: Final = frozenset({"000", "110", "112", "911", "999"})
"""Numbers that mean an emergency in many countries, for phones of which nobody said where they stand."""

EMERGENCY_NUMBERS: Final[dict[str, frozenset[str]]] = {
    country: frozenset(numbers.split())
    for country, numbers in {
        "AE": "112 901 997 998 999",
        "AR": "100 101 107 911",
        "AT": "112 122 133 144",
        "AU": "000 106 112",
        "BE": "100 101 112",
        "BG": "112",
        "BR": "190 192 193",
        "CA": "911",
        "CH": "112 117 118 144 1414",
        "CL": "131 132 133",
        "CN": "110 119 120 122",
        "CY": "112 199",
        "CZ": "112 150 155 156 158",
        "DE": "110 112",
        "DK": "112",
        "EE": "112",
        "ES": "061 062 080 085 091 092 112",
        "FI": "112",
        "FR": "112 114 115 119 15 17 18 191 196",
        "GB": "112 999",
        "GR": "100 108 112 166 199",
        "HK": "112 999",
        "HR": "112 192 193 194 195",
        "HU": "104 105 107 112",
        "IE": "112 999",
        "IL": "100 101 102 112",
        "IN": "100 101 102 108 112",
        "IS": "112",
        "IT": "112 113 115 117 118",
        "JP": "110 118 119",
        "KR": "112 119",
        "LT": "112",
        "LU": "112 113",
        "LV": "110 112 113",
        "MT": "112",
        "MX": "911",
        "NL": "112",
        "NO": "110 112 113",
        "NZ": "111",
        "PL": "112 997 998 999",
        "PT": "112",
        "RO": "112",
        "RU": "101 102 103 104 112",
        "SE": "112",
        "SG": "995 999",
        "SI": "112 113",
        "SK": "112 150 155 158",
        "TR": "112",
        "TW": "110 119",
        "UA": "101 102 103 104 112",
        "US": "911",
        "ZA": "10111 10177 112",
    }.items()
}
