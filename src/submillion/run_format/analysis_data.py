"""The types of the analysis: near-duplicates and label noise."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from submillion.run_format.analysis import Slice
from submillion.run_format.interval import Interval
from submillion.run_format.quantities import Count, Share


class SplitDuplicates(TypedDict):
    """Rows of one split that have near-duplicates in another, or in itself."""

    rows_of: str
    duplicates_in: str
    rows: Count
    of_rows: Count
    share: Share | None
    pairs: Count
    identical: Count
    """Pairs of similarity 1."""
    different_labels: Count
    """Pairs whose labels differ."""


class DuplicatesEffect(TypedDict):
    """The accuracy with and without the rows that have a near-duplicate in train."""

    split: str
    rows: Count
    correct: Count
    accuracy: Share
    accuracy_interval: Interval
    with_duplicate: Slice
    without_duplicate: Slice
    difference: Interval | None
    """Accuracy on all rows minus that on the rows without; None if there are no others."""
    contradicted: dict[str, Count]
    """`rows` whose near-duplicates in train all have another label, and how many are `correct`."""
    sentence: str


class Duplicates(TypedDict):
    """The part "duplicates"."""

    meaning: str
    limitations: str
    method: dict[str, Any]
    complete: bool
    """False if there were too many candidates to compare all, so that counts may be too low."""
    splits: dict[str, dict[str, Count]]
    """`rows` and `empty` (rows without text, never compared) of each split."""
    between_splits: list[SplitDuplicates]
    groups: dict[str, Count]
    """Connected groups of near-duplicates: `groups`, `rows`, `largest`."""
    conflicts: dict[str, Any]
    """`pairs` and `rows` with different labels, and `examples`, most similar first."""
    examples: list[dict[str, Any]]
    """Pairs just above the threshold."""
    effect: DuplicatesEffect | None


class LabelIssues(TypedDict):
    """Rows whose labels look wrong, by confident learning."""

    noise_rate: Interval
    candidates: Count
    share: Share
    classes: list[dict[str, Any]]
    """`class`, `rows`, `candidates` and `noise_rate` of each class with rows."""
    pairs_in_all: Count
    pairs: list[dict[str, Any]]
    """At most 30, most frequent first: `given`, `suggested`, `rows`."""
    suspects: list[dict[str, Any]]
    """Lowest label quality first."""


class TrainLabelIssues(LabelIssues):
    """The training rows, by probabilities of a model that was trained without them."""

    rows: Count
    folds: Count
    left_out: list[dict[str, Any]]
    """`class` and `rows` of classes with fewer rows than folds."""
    model_accuracy: Interval
    """Of the model, by the given labels."""


class SplitLabelIssues(LabelIssues):
    """The scored split, by the run's own probabilities."""

    split: str
    rows: Count
    mistakes: Count
    """Of the run."""


class Noise(TypedDict):
    """The part "noise"."""

    meaning: str
    model: str
    limitations: str
    resamples: Count
    train: TrainLabelIssues
    split: SplitLabelIssues | None
    """None if the split has fewer than two classes."""
