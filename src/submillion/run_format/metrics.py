"""The types of a run's `metrics.json`: a dictionary of split name to `SplitMetrics`."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator
from typing_extensions import TypedDict

from submillion.run_format.interval import Interval
from submillion.run_format.quantities import Count, Number, Share


class ClassScores(TypedDict):
    """The scores of one class, each from 0 to 1."""

    precision: Share
    recall: Share
    f1: Share
    support: Count
    """Rows of the class."""


class ConfidenceSummary(TypedDict):
    """The distribution of the top probability over a split's rows."""

    split: str
    rows: Count
    mean: Share
    median: Share
    min: Share
    max: Share
    above: dict[str, Share]
    """Share of rows whose top probability is above a threshold, by threshold."""


class LabelledMetrics(TypedDict):
    """The scores of labelled rows."""

    rows: Count
    correct: Count
    accuracy: Share
    accuracy_interval: Interval
    macro_f1: Share
    loss: Number
    """Mean negative log-likelihood in nats."""
    per_class: dict[str, ClassScores]
    confusion: list[list[Count]]
    """[C, C] counts; rows are true classes, columns predicted ones."""


class SplitMetrics(TypedDict):
    """The scores of one split; a split without labels has `split`, `rows` and `confidence` alone."""

    split: str
    rows: Count
    correct: NotRequired[Count]
    accuracy: NotRequired[Share]
    accuracy_interval: NotRequired[Interval]
    macro_f1: NotRequired[Share]
    loss: NotRequired[Number]
    """Mean negative log-likelihood in nats."""
    per_class: NotRequired[dict[str, ClassScores]]
    confusion: NotRequired[list[list[Count]]]
    """[C, C] counts; rows are true classes, columns predicted ones."""
    confidence: ConfidenceSummary


_OF_LABELLED = [name for name in LabelledMetrics.__annotations__ if name != "rows"]


def _whole(scores: dict[str, Any]) -> dict[str, Any]:
    """Refuse scores of which some are missing, or a confusion matrix of other classes."""
    missing = [name for name in _OF_LABELLED if name not in scores]
    if 0 < len(missing) < len(_OF_LABELLED):
        raise ValueError(f"all scores of labelled rows or none, and {missing[0]} is missing")
    classes = len(scores.get("per_class", ()))
    confusion = scores.get("confusion", [])
    if len(confusion) != classes or any(len(row) != classes for row in confusion):
        raise ValueError(f"a confusion matrix of the {classes} classes in per_class")
    return scores


Metrics = dict[str, Annotated[SplitMetrics, AfterValidator(_whole)]]
