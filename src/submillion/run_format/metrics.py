"""The types of a run's `metrics.json`: a dictionary of split name to `SplitMetrics`."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from submillion.run_format.interval import Interval


class ClassScores(TypedDict):
    """The scores of one class, each from 0 to 1."""

    precision: float
    recall: float
    f1: float
    support: int
    """Rows of the class."""


class ConfidenceSummary(TypedDict):
    """The distribution of the top probability over a split's rows."""

    split: str
    rows: int
    mean: float
    median: float
    min: float
    max: float
    above: dict[str, float]
    """Share of rows whose top probability is above a threshold, by threshold."""


class LabelledMetrics(TypedDict):
    """The scores of labelled rows."""

    rows: int
    correct: int
    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    loss: float
    """Mean negative log-likelihood in nats."""
    per_class: dict[str, ClassScores]
    confusion: list[list[int]]
    """[C, C] counts; rows are true classes, columns predicted ones."""


class SplitMetrics(TypedDict):
    """The scores of one split; a split without labels has `split`, `rows` and `confidence` alone."""

    split: str
    rows: int
    correct: NotRequired[int]
    accuracy: NotRequired[float]
    accuracy_interval: NotRequired[Interval]
    macro_f1: NotRequired[float]
    loss: NotRequired[float]
    """Mean negative log-likelihood in nats."""
    per_class: NotRequired[dict[str, ClassScores]]
    confusion: NotRequired[list[list[int]]]
    """[C, C] counts; rows are true classes, columns predicted ones."""
    confidence: ConfidenceSummary


Metrics = dict[str, SplitMetrics]
