"""The time limit of a run: how much of it is left."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Self

from submillion.errors import BadInput, Problem

MARGIN = 0.95
"""Share of the limit that is planned; the rest is for what a short measurement cannot see."""


@dataclass(frozen=True)
class TimeLimit:
    """The minutes that a caller gives a run."""

    minutes: float
    started_at: float
    """Of `time.perf_counter`."""

    @classmethod
    def of(cls, minutes: float, started_at: float | None = None) -> Self:
        """Start the clock.

        Args:
            minutes: from the start of the run to its end.
            started_at: of `time.perf_counter`, when the run was started; None starts it now.

        Raises:
            BadInput: the minutes are no positive number.
        """
        if not (math.isfinite(minutes) and minutes > 0):
            raise BadInput(Problem("@{minutes}", "a positive number of minutes", f"{minutes:g}"))
        return cls(minutes, time.perf_counter() if started_at is None else started_at)

    def left(self) -> float:
        """Return the seconds that may still be planned."""
        return MARGIN * 60 * self.minutes - (time.perf_counter() - self.started_at)
