"""The types of the analysis: intervals, comparisons with baselines, and errors; every part's file also has `cost`."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from submillion.run_format.interval import Interval


class Cost(TypedDict):
    """The cost of computing a part."""

    seconds: float
    cpu_seconds: float


# -- scores and comparisons -------------------------------------------------------------------------------------


class ClassIntervals(TypedDict):
    """The scores of one class; undefined if the class was never predicted, or has no rows, or neither."""

    support: int
    """Rows of the class."""
    predicted: int
    """Rows answered with it."""
    precision: Interval
    recall: Interval
    f1: Interval


class SplitIntervals(TypedDict):
    """The scores of one split with their intervals."""

    rows: int
    accuracy: Interval
    macro_f1: Interval
    per_class: dict[str, ClassIntervals]


class Intervals(TypedDict):
    """The part "intervals"."""

    resamples: int
    """Bootstrap resamples."""
    splits: dict[str, SplitIntervals]


class MeasureComparison(TypedDict):
    """One measure of two classifiers a and b on the same rows; differences are a minus b, as shares."""

    a: float
    b: float
    difference: float
    difference_interval: Interval
    p: float
    p_holm: NotRequired[float]
    """Corrected for all comparisons that are made together (Holm)."""
    bootstrap_interval: NotRequired[Interval]
    """The difference again, by the paired bootstrap (accuracy only)."""


class PairedComparison(TypedDict):
    """Two classifiers a and b on the same rows."""

    rows: int
    resamples: int
    only_a: int
    """Rows that only a got right."""
    only_b: int
    accuracy: MeasureComparison
    macro_f1: MeasureComparison
    shown: NotRequired[bool]
    """Whether the corrected p of the accuracies is below the significance level."""


class Slice(TypedDict):
    """The accuracy of a group of rows, against all other rows; None if not tested or not computable."""

    name: str
    rows: int
    correct: int
    accuracy: float | None
    accuracy_interval: Interval
    mean_confidence: float | None
    too_small: bool
    """Too few rows to be tested."""
    rest_rows: int
    rest_accuracy: float | None
    difference: float | None
    """Accuracy minus `rest_accuracy`."""
    difference_interval: Interval
    p: float | None
    p_holm: float | None
    beyond_chance: bool | None
    """Whether `p_holm` is below the significance level."""
    rest_accuracy_same_classes: float | None
    """Accuracy of the other rows, each class weighted as in the group."""
    p_same_classes: float | None
    """Of the comparison within the classes."""
    p_same_classes_holm: float | None
    beyond_chance_same_classes: bool | None


# -- errors -----------------------------------------------------------------------------------------------------


class ConfusedPair(TypedDict):
    """Rows of one class that were answered as another."""

    true: str
    predicted: str
    rows: int
    class_rows: int
    """Rows of the true class."""
    share: float
    """Of the true class's rows."""
    share_interval: Interval
    share_of_mistakes: float
    mean_confidence: float


class Mistake(TypedDict):
    """A wrong answer with its text."""

    row: int
    """In the split, from 0."""
    id: str
    true: str
    predicted: str
    probability: float
    true_probability: float
    text: str
    """At most about 600 characters."""
    characters: int
    """Of the whole text."""
    cut: bool
    """Whether `text` is shorter than the whole."""


class SecondChoice(TypedDict):
    """Mistakes whose true class was the second most probable one."""

    rows: int
    share: float
    share_interval: Interval


class SliceKind(TypedDict):
    """The slices by one property of the rows."""

    title: str
    meaning: str
    limitations: str
    tests: int
    """P-values corrected together."""
    facts: dict[str, Any]
    slices: list[Slice]
    """Empty if all rows are alike."""


class Errors(TypedDict):
    """The part "errors"."""

    split: str
    rows: int
    mistakes: int
    accuracy: float | None
    accuracy_interval: Interval
    second_choice: SecondChoice | None
    """None without mistakes."""
    pairs_in_all: int
    pairs: list[ConfusedPair]
    """At most 50, most frequent first."""
    confident_mistakes: list[Mistake]
    """At most 20, most confident first."""
    smallest_rows: int
    """Slices of fewer rows are not tested."""
    alpha: float
    """Significance level of the tests."""
    slices: dict[str, SliceKind]
    """By `length`, `cut` and `novelty`, and by each of the recipe's `data.slice_columns` as `column NAME`."""


# -- baselines --------------------------------------------------------------------------------------------------


class Verdict(TypedDict):
    """The statement that test and interval support about the run and one baseline."""

    baseline: str
    kind: str
    """`beats`, `worse` or `no difference shown`."""
    difference: float
    """Run minus baseline."""
    difference_interval: Interval
    p_holm: float
    sentence: str
    more: NotRequired[Verdict | None]
    """About the linear model that also learns from the validation rows."""


class FitFacts(TypedDict):
    """Facts recorded while fitting a baseline; they cannot be recomputed from its predictions."""

    trained_on: list[str]
    """Names of splits."""
    training_rows: int
    parameters: int
    strength: dict[str, Any] | None
    """Regularisation: `C`, `chosen_on` (None if fixed) and `ladder`: `C`, `accuracy`, `converged` of each candidate."""
    fit_seconds: float
    """From texts to the fitted model, the choice of C included."""
    predict_seconds: float
    """For the rows of the split."""


class BaselineEntry(FitFacts):
    """One baseline: how it was fitted, its scores, and the run against it."""

    title: str
    method: str
    """One sentence."""
    accuracy: Interval
    macro_f1: Interval
    against_run: PairedComparison
    """Run (a) minus baseline (b)."""


class Baselines(TypedDict):
    """The parts "baseline" and "probe"."""

    split: str
    rows: int
    resamples: int
    optimistic: bool
    """The split is validation, which also selected the run's checkpoint: the run's scores are biased."""
    run: dict[str, Interval]
    """`accuracy` and `macro_f1`, as in the part "intervals"."""
    baselines: dict[str, BaselineEntry]
    absent: str | None
    """Why a baseline is missing."""
    verdict: Verdict | None
