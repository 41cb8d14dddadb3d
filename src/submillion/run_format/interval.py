"""The one form of a confidence interval in every JSON file of a run."""

from __future__ import annotations

from typing_extensions import TypedDict

from submillion.run_format.quantities import Number

CONFIDENCE = 0.95
"""Coverage of every interval in a run's files."""
ALPHA = 0.05
"""Significance level: a difference is shown if its corrected p-value is below it."""


class Interval(TypedDict):
    """An estimate with its confidence limits, all in the unit of the estimate."""

    value: Number | None
    """The estimate; None if it is undefined, such as the precision of a class that was never predicted."""
    low: Number | None
    """Lower limit; None if the method gives no interval, such as for a single value."""
    high: Number | None
    """Upper limit; None if `low` is."""
    confidence_level: Number
    """Coverage, such as 0.95."""


def interval(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    confidence_level: float = CONFIDENCE,
) -> Interval:
    """Return an interval in the form that a run's files hold.

    Args:
        value: the estimate; None if undefined.
        low: lower limit; None together with `high` if there is no interval.
        high: upper limit.
        confidence_level: coverage, 0.95 for 95%.
    """
    return {"value": value, "low": low, "high": high, "confidence_level": confidence_level}


def value_of(found: Interval) -> float:
    """Return the estimate; raises ValueError if it is undefined."""
    if found["value"] is None:
        raise ValueError("expected an interval with an estimate, found none")
    return found["value"]


def limits_of(found: Interval) -> tuple[float, float]:
    """Return the limits of an interval; raises ValueError if they are undefined."""
    if found["low"] is None or found["high"] is None:
        raise ValueError("expected an interval with limits, found none")
    return found["low"], found["high"]
