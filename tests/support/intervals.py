"""Reads intervals of a run's files in tests."""

from __future__ import annotations

from submillion.run_format.interval import Interval


def limits(found: Interval) -> tuple[float, float]:
    """Return the two limits of an interval that is defined."""
    low, high = found["low"], found["high"]
    assert low is not None and high is not None
    return low, high
