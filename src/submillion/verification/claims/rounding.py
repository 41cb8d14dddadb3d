"""Published numbers: the range of values that a rounded number can stand for."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WRITTEN = re.compile(
    r"(?P<sign>[-+]?)(?P<whole>\d{1,3}(?:[,_ ]\d{3})+|\d+)(?:\.(?P<places>\d+))?(?P<percent> ?%)?"
)
SLACK = 1e-9  # relative; sums of binary fractions are inexact


@dataclass(frozen=True)
class Range:
    """The interval from `low` to `high`, both included."""

    low: float
    high: float

    def overlaps(self, other: Range) -> bool:
        """Return whether the two intervals have a value in common."""
        slack = SLACK * max(1.0, abs(self.low), abs(self.high))
        return self.low <= other.high + slack and other.low <= self.high + slack


@dataclass(frozen=True)
class PublishedNumber:
    """A number with its written form, for example `94.09 %`, `888,580` or `0.9409`."""

    written: str
    value: float
    unit: float
    """Value of one unit in the last written digit."""

    @property
    def range(self) -> Range:
        """All values that round to the written form: half a unit to each side."""
        return Range(self.value - self.unit / 2, self.value + self.unit / 2)

    @classmethod
    def parse(cls, text: str) -> PublishedNumber | None:
        """Parse a number: digits with or without thousands separators, a decimal point, a percent sign.

        Returns:
            The number; None if the text is not one. 94.09% is 0.9409 with a unit of 0.0001.
        """
        match = _WRITTEN.fullmatch(text.strip())
        if not match:
            return None
        places = match["places"] or ""
        digits = re.sub(r"[,_ ]", "", match["whole"])
        scale = 100 if match["percent"] else 1
        value = float(f"{match['sign']}{digits}.{places or '0'}") / scale
        return cls(text.strip(), value, 10.0 ** -len(places) / scale)
