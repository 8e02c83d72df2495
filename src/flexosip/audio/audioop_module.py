"""The standard library's `audioop` where it still is (before Python 3.13): equal results as our own code, in C.

`audioop` is None where it is missing, and on big-endian machines, whose octet order is not that of our PCM.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

__all__ = ["audioop"]

audioop: Any = None

if sys.byteorder == "little":
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import audioop
    except ImportError:
        pass
