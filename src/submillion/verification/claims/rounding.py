"""A number as somebody wrote it: what it may have been before it was rounded."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WRITTEN = re.compile(
    r"(?P<sign>[-+]?)(?P<whole>\d{1,3}(?:[,_ ]\d{3})+|\d+)(?:\.(?P<places>\d+))?(?P<percent> ?%)?"
)
SLACK = 1e-9  # relative; sums of binary fractions are not exact


@dataclass(frozen=True)
class Range:
    """Where a number lies: `low` to `high`, both included."""

    low: float
    high: float

    def holds(self, other: Range) -> bool:
        """Return whether the two have a value in common."""
        slack = SLACK * max(1.0, abs(self.low), abs(self.high))
        return self.low <= other.high + slack and other.low <= self.high + slack


@dataclass(frozen=True)
class Stated:
    """A number as it was written, for example `94.09 %`, `888,580` or `0.9409`."""

    written: str
    value: float
    unit: float
    """What the last written digit is worth."""

    @property
    def range(self) -> Range:
        """All numbers that are written so when they are rounded: half a unit to each side."""
        return Range(self.value - self.unit / 2, self.value + self.unit / 2)

    @classmethod
    def read(cls, text: str) -> Stated | None:
        """Read a written number: digits with or without thousands separators, a point, a percent sign.

        Returns:
            None where the text is no such number. 94.09 % is 0.9409, its unit 0.0001.
        """
        found = _WRITTEN.fullmatch(text.strip())
        if not found:
            return None
        places = found["places"] or ""
        digits = re.sub(r"[,_ ]", "", found["whole"])
        scale = 100 if found["percent"] else 1
        value = float(f"{found['sign']}{digits}.{places or '0'}") / scale
        return cls(text.strip(), value, 10.0 ** -len(places) / scale)
