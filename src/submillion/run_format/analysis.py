"""The types of the files below a run's `analysis/`, one per part; each also has `cost` when it is written."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from submillion.run_format.interval import Interval


class Cost(TypedDict):
    """The cost of computing a part."""

    seconds: float
    cpu_seconds: float


# -- scores and comparisons ---------------------------------------------------------------------------------


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


# -- confidence ---------------------------------------------------------------------------------------------


class ReliabilityBin(TypedDict):
    """One bin of the reliability diagram."""

    rows: int
    low: float
    """Lowest confidence."""
    high: float
    """Highest confidence."""
    confidence: float
    """Mean confidence."""
    accuracy: float
    accuracy_interval: Interval


class CalibrationError(Interval):
    """The expected calibration error with its interval."""

    bins: int
    if_calibrated: dict[str, float]
    """`mean` and `high` (95th percentile) of the error if every confidence were true."""
    p: float
    """Share of simulated calibrated sets whose error is as large."""


class RiskCoverageArea(Interval):
    """The area under the risk-coverage curve."""

    best: float
    """With every right answer before every wrong one."""
    random: float
    """With a random ranking: the share of wrong answers."""


class Curve(TypedDict):
    """An interval at each of several points."""

    value: list[float]
    low: list[float]
    high: list[float]
    confidence_level: float


class RiskCoverage(TypedDict):
    """The risk-coverage curve, ascending in coverage to 1, thinned to about 200 points."""

    coverage: list[float]
    risk: Curve
    """Share of wrong answers among the answered rows; Wilson's interval at each point by itself."""
    threshold: list[float]
    """The confidence from which rows are answered."""


class SplitConfidence(TypedDict):
    """How well the confidences of one split match its accuracy."""

    rows: int
    accuracy: Interval
    mean_confidence: float
    ece: CalibrationError
    brier: Interval
    nll: Interval
    """Log loss in nats."""
    reliability: list[ReliabilityBin]
    aurc: RiskCoverageArea
    risk_coverage: RiskCoverage


class Temperature(Interval):
    """The temperature fitted on the validation split; the limits are None at a bound of the search."""

    rows: int
    at_bound: bool
    """The loss falls up to a bound, so no temperature can be estimated."""
    test: dict[str, Any] | None
    """Its effect on the test split: `rows`, `reliability`, and `before`, `after` and `difference` of each score."""


class Answered(TypedDict):
    """The effect of an abstention threshold on one split; accuracy and limits are None if no row is answered."""

    rows: int
    answered: int
    coverage: float
    accuracy: float | None
    accuracy_interval: Interval
    lower_limit: float | None
    """Exact one-sided 95 % lower limit of the accuracy."""


class AbstainTarget(TypedDict):
    """A target accuracy and the threshold that reaches it on the validation split; None if none does."""

    target_accuracy: float
    least_rows: int | None
    """Validation rows that must be answered without a mistake before the target can be reached."""
    threshold: float | None
    validation: Answered | None
    test: Answered | None
    chosen_by: NotRequired[str]
    """Of the run's policy: `default` or `user`."""


class Confidence(TypedDict):
    """The part "confidence"."""

    resamples: int
    splits: dict[str, SplitConfidence]
    temperature: Temperature | None
    """None without a validation split."""
    rule: str
    """How thresholds are chosen."""
    targets: list[AbstainTarget]
    policy: AbstainTarget | None
    """Rows whose confidence is below its `threshold` are not to be answered."""


# -- errors -------------------------------------------------------------------------------------------------


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


# -- baselines ----------------------------------------------------------------------------------------------


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


class BaselineEntry(TypedDict):
    """One baseline: what it is, what fitting it recorded, its scores, and the run against it."""

    title: str
    method: str
    learnt_from: list[str]
    """Names of splits."""
    learnt_rows: int
    parameters: int
    strength: dict[str, Any] | None
    """Regularisation: `C`, `chosen_on` and `ladder`."""
    fit_seconds: float
    """From texts to the fitted model, the choice of C included."""
    predict_seconds: float
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


# -- data quality -------------------------------------------------------------------------------------------


class SplitDuplicates(TypedDict):
    """Rows of one split that have near-duplicates in another, or in itself."""

    rows_of: str
    duplicates_in: str
    rows: int
    of_rows: int
    share: float | None
    pairs: int
    identical: int
    """Pairs of similarity 1."""
    different_labels: int
    """Pairs whose labels differ."""


class DuplicatesEffect(TypedDict):
    """The accuracy with and without the rows that have a near-duplicate in train."""

    split: str
    rows: int
    correct: int
    accuracy: float
    accuracy_interval: Interval
    with_duplicate: Slice
    without_duplicate: Slice
    difference: Interval | None
    """Accuracy on all rows minus that on the rows without; None if there are no others."""
    contradicted: dict[str, int]
    """`rows` whose near-duplicates in train all have another label, and how many are `correct`."""
    sentence: str


class Duplicates(TypedDict):
    """The part "duplicates"."""

    meaning: str
    limitations: str
    method: dict[str, Any]
    complete: bool
    """False if there were too many candidates to compare all, so that counts may be too low."""
    splits: dict[str, dict[str, int]]
    """`rows` and `empty` (rows without text, never compared) of each split."""
    between_splits: list[SplitDuplicates]
    groups: dict[str, int]
    """Connected groups of near-duplicates: `groups`, `rows`, `largest`."""
    conflicts: dict[str, Any]
    """`pairs` and `rows` with different labels, and `examples`, most similar first."""
    examples: list[dict[str, Any]]
    """Pairs just above the threshold."""
    effect: DuplicatesEffect | None


class LabelIssues(TypedDict):
    """Rows whose labels look wrong, by confident learning."""

    noise_rate: Interval
    candidates: int
    share: float
    classes: list[dict[str, Any]]
    """`class`, `rows`, `candidates` and `noise_rate` of each class with rows."""
    pairs_in_all: int
    pairs: list[dict[str, Any]]
    """At most 30, most frequent first: `given`, `suggested`, `rows`."""
    suspects: list[dict[str, Any]]
    """Lowest label quality first."""


class TrainLabelIssues(LabelIssues):
    """The training rows, by probabilities of a model that was trained without them."""

    rows: int
    folds: int
    left_out: list[dict[str, Any]]
    """`class` and `rows` of classes with fewer rows than folds."""
    model_accuracy: Interval
    """Of the model, by the given labels."""


class SplitLabelIssues(LabelIssues):
    """The scored split, by the run's own probabilities."""

    split: str
    rows: int
    mistakes: int
    """Of the run."""


class Noise(TypedDict):
    """The part "noise"."""

    meaning: str
    model: str
    limitations: str
    resamples: int
    train: TrainLabelIssues
    split: SplitLabelIssues | None
    """None if the split has fewer than two classes."""


# -- attribution --------------------------------------------------------------------------------------------


class Deletion(TypedDict):
    """Fall of the answer's probability when words are deleted."""

    words: int
    """Number deleted."""
    top: float
    """Deleting the words of highest weight."""
    random: float
    """Deleting as many at random, mean of 5 draws."""


class ExplainedText(TypedDict):
    """One explained answer; None in what was not measured."""

    row: int
    id: str
    kind: str
    """`confident_mistake`, `least_sure_right` or `sure_right`."""
    true: str
    predicted: str
    probability: float
    """Of the predicted class, as saved."""
    reference_probability: float | None
    """Of the same class, as explained; the two differ by rounding."""
    tokens: int
    """As read, special tokens included."""
    cut: bool
    """Whether the text continues after the words."""
    words: list[list[Any]]
    """[word, weight] in the order of the text; the words joined are exactly what was read, spaces included."""
    score: float | None
    """Log-odds of the predicted class, natural logarithm."""
    baseline_score: float | None
    """The same for the text of mask tokens."""
    completeness_error: float | None
    """Sum of the weights minus (score minus baseline score)."""
    completeness_share: float | None
    """Its absolute value as a share of the sum of absolute weights."""
    steps: int | None
    """Points on the path."""
    deletions: list[Deletion] | None


class Attribution(TypedDict):
    """The part "attribution"."""

    split: str
    rows: int
    method: str
    limitations: str
    baseline_token: str | None
    """Such as `[MASK]`."""
    most_tokens: int
    skipped: int
    """Rows with more tokens, or fewer than two words: never chosen."""
    texts: list[ExplainedText]
    completeness: dict[str, Any] | None
    """`texts`, `mean_share` and `largest_share`; None without texts."""
    faithfulness: dict[str, Any]
    """`draws`, and `curve`: by number of deleted `words` the intervals of `top`, `random` and `difference`."""


# -- audit --------------------------------------------------------------------------------------------------


class AuditList(TypedDict):
    """A word list that was used."""

    kind: str
    title: str
    source: str
    own: bool
    """Whether the run's `audit.yaml` changed it."""
    words: int
    groups: dict[str, int]
    """Words by group of the first level."""


class SwapAxis(TypedDict):
    """The exchanges along one level of one word list."""

    axis: str
    """Such as `given_names.gender`."""
    title: str
    level: str
    carrying: dict[str, int]
    """Distinct texts by the group of their listed word."""
    texts: int
    altered: int
    too_small: bool
    overall: dict[str, Any]
    """Every text, moved to the first group drawn for it: `group`, `texts`, `too_small`, and see `SwapEffect`."""
    groups: list[dict[str, Any]]
    """By target group, the same for the texts that were moved to it."""


class SwapEffect(TypedDict):
    """A swap against its control on the same texts, each text once."""

    flips: int
    """Texts whose answer changed."""
    flip_rate: float
    flip_rate_interval: Interval
    control_flips: int
    control_rate: float
    control_rate_interval: Interval
    only_swap: int
    """Texts that only the swap changed."""
    only_control: int
    difference: float
    """Of the two rates."""
    difference_interval: Interval
    p: float
    """McNemar's exact test."""
    shift: Interval
    """Mean change of the answer's probability."""
    control_shift: Interval
    shift_difference: Interval
    class_shifts: list[dict[str, Any]]
    """`class` and `shift_difference` of the classes that move most, at most 3."""


class ClassAudit(TypedDict):
    """How the rows of one class are answered."""

    name: str
    rows: int
    too_small: bool
    accuracy: float | None
    accuracy_interval: Interval
    answers: dict[str, Any]
    """Of the rows answered with the class: accuracy and calibration."""


class Mentions(TypedDict):
    """Rows by the listed words that they mention, on one level of one list."""

    axis: str
    title: str
    slices: list[Any]
    """Slices with calibration."""


class Domain(TypedDict):
    """The confidence on texts outside the domain."""

    above: float
    policy_threshold: float | None
    sets: list[dict[str, Any]]


class Audit(TypedDict):
    """The part "audit"."""

    split: str
    rows: int
    accuracy: float
    read: int
    """Texts that the classifier read for the audit."""
    smallest: int
    """Fewer texts or rows are not judged."""
    alpha: float
    """Significance level of the tests."""
    lists: list[AuditList]
    words: dict[str, Any]
    """All lists and texts as the yaml files have them, so that a later package or `audit.yaml` changes nothing."""
    unchanged: dict[str, Any]
    """`texts` that were predicted again unaltered, `flips`, and the `largest_difference` of a probability."""
    swaps: list[SwapAxis]
    classes: list[ClassAudit]
    mentions: list[Mentions]
    mention_tests: dict[str, int]
    """Groups of mentions: `judged` and `too_small`."""
    domain: Domain
    summary: NotRequired[list[str]]
    limits: NotRequired[list[str]]
