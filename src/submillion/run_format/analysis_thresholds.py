"""The type of the analysis part "thresholds": a threshold per class, and its effect on rows."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from submillion.run_format.analysis import PairedComparison
from submillion.run_format.interval import Interval
from submillion.run_format.quantities import Count, Number, Share

Objective = Literal["macro_f1", "precision"]


class ClassThreshold(TypedDict):
    """The threshold of one class."""

    threshold: Number | None
    """None if no threshold reaches the target: the class is never answered."""
    rows: Count
    """Labelled rows of the class among those that choose."""


class AnsweredClass(TypedDict):
    """The answers of one class on some rows; precision and recall are None if they divide by zero."""

    answered: Count
    precision: Share | None
    precision_interval: Interval
    recall: Share | None


class Answers(TypedDict):
    """The answers to some rows."""

    answered: Count
    """Rows with an answer."""
    accuracy: Share | None
    """Of the answered rows; None if there are none."""
    by_class: dict[str, AnsweredClass]


class ThresholdEffect(TypedDict):
    """The answers to the same rows without and with the thresholds."""

    rows: Count
    without: Answers
    with_thresholds: Answers
    comparison: PairedComparison | None
    """With (a) minus without (b); None where thresholds leave rows unanswered."""


class CrossFitted(ThresholdEffect):
    """The effect on rows that are answered with thresholds chosen on the other folds of them."""

    folds: Count


class Thresholds(TypedDict):
    """The part "thresholds"."""

    objective: Objective
    target: Share | None
    """Of objective `precision`: the precision that every answered class is to have."""
    rule: str
    """How the thresholds answer a text."""
    limitations: str
    split: str
    """Whose rows choose."""
    least_rows: Count
    """Rows of a class below which its threshold is not chosen; 0 without a limit."""
    classes: dict[str, ClassThreshold]
    chosen_on: ThresholdEffect
    """On the rows that chose the thresholds: too good."""
    cross_fitted: CrossFitted
    test: ThresholdEffect | None
    """None without labelled test rows."""
