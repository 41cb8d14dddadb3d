"""The types of the analysis: intervals, comparisons with baselines, and errors; every part's file also has `cost`."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from submillion.run_format.interval import Interval
from submillion.run_format.quantities import Amount, Count, Number, Share


class Cost(TypedDict):
    """The cost of computing a part."""

    seconds: Amount
    cpu_seconds: Amount


# -- scores and comparisons -------------------------------------------------------------------------------------


class ClassIntervals(TypedDict):
    """The scores of one class; undefined if the class was never predicted, or has no rows, or neither."""

    support: Count
    """Rows of the class."""
    predicted: Count
    """Rows answered with it."""
    precision: Interval
    recall: Interval
    f1: Interval


class SplitIntervals(TypedDict):
    """The scores of one split with their intervals."""

    rows: Count
    accuracy: Interval
    macro_f1: Interval
    per_class: dict[str, ClassIntervals]


class Intervals(TypedDict):
    """The part "intervals"."""

    resamples: Count
    """Bootstrap resamples."""
    splits: dict[str, SplitIntervals]


class MeasureComparison(TypedDict):
    """One measure of two classifiers a and b on the same rows; differences are a minus b, as shares."""

    a: Number
    b: Number
    difference: Number
    difference_interval: Interval
    p: Share
    p_holm: NotRequired[Share]
    """Corrected for all comparisons that are made together (Holm)."""
    bootstrap_interval: NotRequired[Interval]
    """The difference again, by the paired bootstrap (accuracy only)."""


class PairedComparison(TypedDict):
    """Two classifiers a and b on the same rows."""

    rows: Count
    resamples: Count
    only_a: Count
    """Rows that only a got right."""
    only_b: Count
    accuracy: MeasureComparison
    macro_f1: MeasureComparison
    shown: NotRequired[bool]
    """Whether the corrected p of the accuracies is below the significance level."""


class Slice(TypedDict):
    """The accuracy of a group of rows, against all other rows; None if not tested or not computable."""

    name: str
    rows: Count
    correct: Count
    accuracy: Share | None
    accuracy_interval: Interval
    mean_confidence: Share | None
    too_small: bool
    """Too few rows to be tested."""
    rest_rows: Count
    rest_accuracy: Share | None
    difference: Number | None
    """Accuracy minus `rest_accuracy`."""
    difference_interval: Interval
    p: Share | None
    p_holm: Share | None
    beyond_chance: bool | None
    """Whether `p_holm` is below the significance level."""
    rest_accuracy_same_classes: Share | None
    """Accuracy of the other rows, each class weighted as in the group."""
    p_same_classes: Share | None
    """Of the comparison within the classes."""
    p_same_classes_holm: Share | None
    beyond_chance_same_classes: bool | None


# -- errors -----------------------------------------------------------------------------------------------------


class ConfusedPair(TypedDict):
    """Rows of one class that were answered as another."""

    true: str
    predicted: str
    rows: Count
    class_rows: Count
    """Rows of the true class."""
    share: Share
    """Of the true class's rows."""
    share_interval: Interval
    share_of_mistakes: Share
    mean_confidence: Share


class Mistake(TypedDict):
    """A wrong answer with its text."""

    row: Count
    """In the split, from 0."""
    id: str
    true: str
    predicted: str
    probability: Share
    true_probability: Share
    text: str
    """At most about 600 characters."""
    characters: Count
    """Of the whole text."""
    cut: bool
    """Whether `text` is shorter than the whole."""


class SecondChoice(TypedDict):
    """Mistakes whose true class was the second most probable one."""

    rows: Count
    share: Share
    share_interval: Interval


class SliceKind(TypedDict):
    """The slices by one property of the rows."""

    title: str
    meaning: str
    limitations: str
    tests: Count
    """P-values corrected together."""
    facts: dict[str, Any]
    slices: list[Slice]
    """Empty if all rows are alike."""


class Errors(TypedDict):
    """The part "errors"."""

    split: str
    rows: Count
    mistakes: Count
    accuracy: Share | None
    accuracy_interval: Interval
    second_choice: SecondChoice | None
    """None without mistakes."""
    pairs_in_all: Count
    pairs: list[ConfusedPair]
    """At most 50, most frequent first."""
    confident_mistakes: list[Mistake]
    """At most 20, most confident first."""
    smallest_rows: Count
    """Slices of fewer rows are not tested."""
    alpha: Number
    """Significance level of the tests."""
    slices: dict[str, SliceKind]
    """By `length`, `cut` and `novelty`, and by each of the recipe's `data.slice_columns` as `column NAME`."""


# -- baselines --------------------------------------------------------------------------------------------------


class Verdict(TypedDict):
    """The statement that the interval of the difference supports about the run and the best of its baselines."""

    baseline: str
    """The baseline's name."""
    kind: str
    """`leads`, `trails` or `no clear lead`."""
    difference: Number
    """Accuracy of the run minus that of the baseline."""
    difference_interval: Interval
    sentence: str


class StrengthStep(TypedDict):
    """One candidate strength."""

    value: Amount
    accuracy: Share
    """On the rows that choose."""
    converged: bool


class Strength(TypedDict):
    """The choice of a baseline's regularisation strength."""

    model: str
    """Kind of the fitted model."""
    value: Amount | None
    """C; None for a nearest-centroid classifier, which has no strength."""
    chosen_on: str | None
    """`validation`, `train` (a fifth of its rows), or None if it is fixed."""
    rows: Count
    """Training rows on which the candidates were fitted."""
    ladder: list[StrengthStep]
    """The candidates."""


class FitFacts(TypedDict):
    """Facts recorded while fitting a baseline; they cannot be recomputed from its predictions."""

    trained_on: list[str]
    """Names of splits."""
    training_rows: Count
    parameters: Count
    strength: Strength | None
    fit_seconds: Amount
    """From texts to the fitted model, the choice of the strength included."""
    predict_seconds: Amount
    """For the rows of the split."""


class BaselineEntry(FitFacts):
    """One baseline: how it was fitted, its scores, and the run against it."""

    title: str
    method: str
    """One or two sentences."""
    accuracy: Interval
    macro_f1: Interval
    against_run: PairedComparison
    """Run (a) minus baseline (b)."""
    outcome: str
    """Of the run: `leads`, `trails` or `no clear lead`."""


class Baselines(TypedDict):
    """The part "baseline"."""

    split: str
    rows: Count
    resamples: Count
    optimistic: bool
    """The split is validation, which also selected the run's checkpoint: the run's scores are biased."""
    run: dict[str, Interval]
    """`accuracy` and `macro_f1`, as in the part "intervals"."""
    baselines: dict[str, BaselineEntry]
    absent: dict[str, str]
    """Why a baseline is missing, by its name."""
    verdict: Verdict | None
    """None if no baseline could be fitted."""
