"""The types of the analysis: attribution and audit, which run the classifier on further texts."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from submillion.run_format.interval import Interval
from submillion.run_format.quantities import Count, Number, Share

# -- attribution ------------------------------------------------------------------------------------------------


class Deletion(TypedDict):
    """Fall of the answer's probability when words are deleted."""

    words: Count
    """Number deleted."""
    top: Number
    """Deleting the words of highest weight."""
    random: Number
    """Deleting as many at random, mean of 5 draws."""


class ExplainedText(TypedDict):
    """One explained answer; None in what was not measured."""

    row: Count
    id: str
    kind: str
    """`confident_mistake`, `least_sure_right` or `sure_right`."""
    true: str
    predicted: str
    probability: Share
    """Of the predicted class, as saved."""
    reference_probability: Share | None
    """Of the same class, as explained; the two differ by rounding."""
    tokens: Count
    """As read, special tokens included."""
    cut: bool
    """Whether the text continues after the words."""
    words: list[list[Any]]
    """[word, weight] in the order of the text; the words joined are exactly what was read, spaces included."""
    score: Number | None
    """Log-odds of the predicted class, natural logarithm."""
    baseline_score: Number | None
    """The same for the text of mask tokens."""
    completeness_error: Number | None
    """Sum of the weights minus (score minus baseline score)."""
    completeness_share: Number | None
    """Its absolute value as a share of the sum of absolute weights."""
    steps: Count | None
    """Points on the path."""
    deletions: list[Deletion] | None


class Attribution(TypedDict):
    """The part "attribution"."""

    split: str
    rows: Count
    method: str
    limitations: str
    baseline_token: str | None
    """Such as `[MASK]`."""
    most_tokens: Count
    skipped: Count
    """Rows with more tokens, or fewer than two words: never chosen."""
    texts: list[ExplainedText]
    completeness: dict[str, Any] | None
    """`texts`, `mean_share` and `largest_share`; None without texts."""
    faithfulness: dict[str, Any]
    """`draws`, and `curve`: by number of deleted `words` the intervals of `top`, `random` and `difference`."""


# -- audit ------------------------------------------------------------------------------------------------------


class AuditList(TypedDict):
    """A word list that was used."""

    kind: str
    title: str
    source: str
    own: bool
    """Whether the run's `audit.yaml` changed it."""
    words: Count
    groups: dict[str, Count]
    """Words by group of the first level."""


class SwapAxis(TypedDict):
    """The exchanges along one level of one word list."""

    axis: str
    """Such as `given_names.gender`."""
    title: str
    level: str
    carrying: dict[str, Count]
    """Distinct texts by the group of their listed word."""
    texts: Count
    altered: Count
    too_small: bool
    overall: dict[str, Any]
    """Every text, moved to the first group drawn for it: `group`, `texts`, `too_small`, and see `SwapEffect`."""
    groups: list[dict[str, Any]]
    """By target group, the same for the texts that were moved to it."""


class SwapEffect(TypedDict):
    """A swap against its control on the same texts, each text once."""

    flips: Count
    """Texts whose answer changed."""
    flip_rate: Share
    flip_rate_interval: Interval
    control_flips: Count
    control_rate: Share
    control_rate_interval: Interval
    only_swap: Count
    """Texts that only the swap changed."""
    only_control: Count
    difference: Number
    """Of the two rates."""
    difference_interval: Interval
    p: Share
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
    rows: Count
    too_small: bool
    accuracy: Share | None
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

    above: Number
    policy_threshold: Number | None
    sets: list[dict[str, Any]]


class Audit(TypedDict):
    """The part "audit"."""

    split: str
    rows: Count
    accuracy: Share
    read: Count
    """Texts that the classifier read for the audit."""
    smallest: Count
    """Fewer texts or rows are not judged."""
    alpha: Number
    """Significance level of the tests."""
    lists: list[AuditList]
    words: dict[str, Any]
    """All lists and texts as the yaml files have them, so that a later package or `audit.yaml` changes nothing."""
    unchanged: dict[str, Any]
    """`texts` that were predicted again unaltered, `flips`, and the `largest_difference` of a probability."""
    swaps: list[SwapAxis]
    classes: list[ClassAudit]
    mentions: list[Mentions]
    mention_tests: dict[str, Count]
    """Groups of mentions: `judged` and `too_small`."""
    domain: Domain
    summary: NotRequired[list[str]]
    limits: NotRequired[list[str]]
