"""The type of a comparison of answers: those of another form of a run against its saved predictions."""

from __future__ import annotations

from typing_extensions import TypedDict

from submillion.run_format.interval import Interval
from submillion.run_format.quantities import Number


class SplitAgreement(TypedDict):
    """The answers of another form of a run on the rows of one split: of a file of an export, or of int8."""

    rows: int
    argmax_agreement: Number
    """Share of rows that get the same class as from the run."""
    max_probability_difference: Number
    """The largest difference of one class's probability in one row."""
    accuracy: Number | None
    """Share of the labelled rows; None without any."""
    accuracy_difference: Number | None
    """Other form minus run, as a share; negative if the other form is worse."""
    interval: Interval | None
    """The difference with its 95% interval, paired by row (Agresti and Min 2005)."""
