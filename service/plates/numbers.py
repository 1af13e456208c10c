"""Numbers as files write them: ASCII digits and a point, nothing that Python alone would take."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def amount(text: str) -> float | None:
    """A finite number from 0 up, or nothing: no signs, underscores, commas, nan or infinity."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None
