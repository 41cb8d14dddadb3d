"""The types of the analysis: near-duplicates and label noise."""

from __future__ import annotations

from typing_extensions import TypedDict

from submillion.run_format.analysis import Slice
from submillion.run_format.interval import Interval
from submillion.run_format.quantities import Count, Share


class DuplicateMethod(TypedDict):
    """How near-duplicates are found: MinHash signatures in bands."""

    threshold: Share
    """Least similarity."""
    shingle_words: Count
    hash_values: Count
    bands: Count
    found_at_threshold: Share
    """Share of the pairs of that similarity that are found."""


class DuplicateText(TypedDict):
    """One text of a pair."""

    split: str
    row: Count
    id: str
    label: str
    text: str
    cut: bool


class DuplicatePair(TypedDict):
    """Two near-duplicates."""

    similarity: Share
    one: DuplicateText
    other: DuplicateText


class DuplicateConflicts(TypedDict):
    """Near-duplicates with different labels."""

    pairs: Count
    rows: Count
    examples: list[DuplicatePair]
    """Most similar first."""


class DuplicateSplit(TypedDict):
    """The texts of one split."""

    rows: Count
    empty: Count
    """Rows without text, never compared."""


class DuplicateGroups(TypedDict):
    """Connected groups of near-duplicates."""

    groups: Count
    rows: Count
    largest: Count


class Contradicted(TypedDict):
    """Rows whose near-duplicates in train all have another label."""

    rows: Count
    correct: Count


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
    contradicted: Contradicted
    sentence: str


class Duplicates(TypedDict):
    """The part "duplicates"."""

    meaning: str
    limitations: str
    method: DuplicateMethod
    complete: bool
    """False if there were too many candidates to compare all, so that counts may be too low."""
    splits: dict[str, DuplicateSplit]
    between_splits: list[SplitDuplicates]
    groups: DuplicateGroups
    conflicts: DuplicateConflicts
    examples: list[DuplicatePair]
    """Pairs just above the threshold."""
    effect: DuplicatesEffect | None


ClassNoise = TypedDict(
    "ClassNoise", {"class": str, "rows": Count, "candidates": Count, "noise_rate": Interval}
)
"""The suspected rows of one class."""
LeftOut = TypedDict("LeftOut", {"class": str, "rows": Count})
"""A class with fewer rows than folds."""


class LabelPair(TypedDict):
    """Rows of one class that look like another."""

    given: str
    suggested: str
    rows: Count


class Suspect(TypedDict):
    """A row whose label looks wrong."""

    row: Count
    id: str
    given: str
    suggested: str
    quality: Share
    """Probability of the given label."""
    suggested_probability: Share
    text: str
    cut: bool


class LabelIssues(TypedDict):
    """Rows whose labels look wrong, by confident learning."""

    noise_rate: Interval
    candidates: Count
    share: Share
    classes: list[ClassNoise]
    """Each class with rows."""
    pairs_in_all: Count
    pairs: list[LabelPair]
    """At most 30, most frequent first."""
    suspects: list[Suspect]
    """Lowest label quality first."""


class TrainLabelIssues(LabelIssues):
    """The training rows, by probabilities of a model that was trained without them."""

    rows: Count
    folds: Count
    left_out: list[LeftOut]
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
