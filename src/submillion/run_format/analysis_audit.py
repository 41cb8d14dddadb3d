"""The type of the analysis part "audit": swapped words, groups of rows, and texts outside the domain."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, Required

from pydantic import AfterValidator
from typing_extensions import TypedDict

from submillion.run_format.analysis import Slice
from submillion.run_format.interval import Interval
from submillion.run_format.quantities import Count, Number, Share


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


ClassShift = TypedDict("ClassShift", {"class": str, "shift_difference": Interval})
"""How much more the probability of a class moves than with the control."""


class SwapEffect(TypedDict, total=False):
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
    class_shifts: list[ClassShift]
    """Of the classes that move most, at most 3."""


class SwapGroup(SwapEffect, total=False):
    """The texts that were moved to one group; with too few texts, nothing but their number."""

    group: Required[str | None]
    """None for all groups together."""
    texts: Required[Count]
    too_small: Required[bool]
    p_holm: Share
    beyond_chance: bool


def _judged(value: dict[str, Any]) -> dict[str, Any]:
    missing = [name for name in (*SwapEffect.__annotations__, "p_holm", "beyond_chance") if name not in value]
    if missing and not value["too_small"]:
        raise ValueError(f"{missing[0]} of a group that is large enough")
    return value


Swapped = Annotated[SwapGroup, AfterValidator(_judged)]


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
    overall: Swapped
    """Every text, moved to the first group drawn for it."""
    groups: list[Swapped]
    """By target group, the texts that were moved to it."""


class ConfidenceGap(TypedDict):
    """How far the mean confidence is from the accuracy; None without rows."""

    gap: Number | None
    """Mean confidence minus accuracy: positive if overconfident."""
    gap_interval: Interval
    gap_p: Share | None
    gap_p_holm: NotRequired[Share | None]
    gap_beyond_chance: NotRequired[bool | None]


class GroupAccuracy(TypedDict):
    """The accuracy of a group of rows."""

    rows: Count
    too_small: bool
    accuracy: Share | None
    accuracy_interval: Interval


class Calibration(ConfidenceGap):
    """The calibration of a group of rows."""

    too_small: bool
    mean_confidence: Share | None


class CalibratedAnswers(GroupAccuracy, Calibration):
    """The rows answered with a class."""


class CalibratedSlice(Slice, Calibration):
    """A slice with the calibration of its confidences."""


class ClassAudit(GroupAccuracy):
    """How the rows of one class are answered."""

    name: str
    answers: CalibratedAnswers
    """The rows answered with the class."""


class Mentions(TypedDict):
    """Rows by the listed words that they mention, on one level of one list."""

    axis: str
    title: str
    slices: list[CalibratedSlice]


class TextShare(TypedDict):
    """A number of texts as a share of a set."""

    texts: Count
    share: Share
    share_interval: Interval


class DomainKind(TypedDict):
    """One kind of texts in a set; too few for shares."""

    kind: str
    texts: Count
    above: Count
    """Texts with more confidence than `Domain.above`."""
    mean: Share
    answers: dict[str, Count]


class DomainSet(TypedDict):
    """The confidence on one set of texts, in the domain or outside."""

    set: str
    """`inside`, `outside`, `foreign`, `shuffled` or `empty`."""
    title: str
    texts: Count
    too_small: bool
    mean: Share
    median: Share
    above: TextShare
    """More confident than `Domain.above`."""
    answered: TextShare | None
    """At least as confident as the policy's threshold; None without one."""
    answers: dict[str, Count]
    """Texts by class, most frequent first."""
    kinds: NotRequired[list[DomainKind]]
    kept: NotRequired[TextShare]
    """Of shuffled texts: the same answer as with the words in order."""
    less_sure: NotRequired[Interval]
    """Probability that a confidence from this set is lower than one from inside."""


class Domain(TypedDict):
    """The confidence on texts outside the domain."""

    above: Number
    policy_threshold: Number | None
    sets: list[DomainSet]


class Unchanged(TypedDict):
    """The texts that were predicted again unaltered."""

    texts: Count
    flips: Count
    largest_difference: Number
    """Of a probability."""


class MentionTests(TypedDict):
    """Groups of mentions by whether they are large enough."""

    judged: Count
    too_small: Count


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
    unchanged: Unchanged
    swaps: list[SwapAxis]
    classes: list[ClassAudit]
    mentions: list[Mentions]
    mention_tests: MentionTests
    domain: Domain
    summary: NotRequired[list[str]]
    limits: NotRequired[list[str]]
