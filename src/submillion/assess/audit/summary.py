"""The audit's findings as sentences, made from its numbers by rule, and the limits of any such audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from submillion.run_format.analysis_audit import Audit, ClassAudit, Domain, Mentions, MentionTests, SwapAxis
from submillion.run_format.interval import Interval, limits_of
from submillion.wording import (
    capitalized,
    listed,
    p_equals,
    percent,
    percent_range,
    plural,
    points,
    points_range,
)

MAX_SENTENCES = 3
"""Findings of a kind with a sentence of their own; all are in the numbers."""

LIMITS = (
    "A changed answer is not harm. What a wrong answer costs, and whom, depends on the use of the classifier, which no "
    "number here reflects. Nor do unchanged answers prove fairness.",
    "The word lists are short, and their selection is English-speaking and Western; people, places and "
    "companies that are not listed are not judged, and another selection may give other numbers. A file "
    "audit.yaml in the run's folder can name others.",
    "Given names are grouped into two genders and a few broad regions. They determine neither the gender nor the "
    "origin of a person, and people who share a name may share little else.",
    "Only single words are swapped. Pronouns, titles, surnames, places and facts around them stay, so an "
    "altered text may contradict itself; articles are not adapted. The control has the same flaws.",
    "A name also carries fame: an answer may depend on what a person is known for, not on the group of the name.",
    "Groups were sampled in turn so that rare ones are judged, so the rates are not those of the split's own mix.",
    "Groups of rows differ in more than the word that defines them. Classes are accounted for in the comparison "
    "within classes, nothing else is.",
    "Of many comparisons some differ by chance. Corrected together (Holm) are all swaps of one kind over all "
    "lists, and the groups of rows of one list, but not the different kinds of tests.",
    "What is outside the domain depends on the task. The shipped texts are far from news, few, and easy to "
    "distinguish from it; results on similar texts, such as opinion or advertising, may be worse.",
    "All statements are about this run and these texts. Another seed, another adapter or other texts may give other "
    "results.",
)


def sentences(audit: Audit) -> list[str]:
    """Return the findings of an audit as sentences; every number in them is one of its numbers.

    Args:
        audit: without `summary` and `limits`.
    """
    summary = [_of_axis(axis, audit["smallest"]) for axis in audit["swaps"]]
    summary += _of_mentions(audit["mentions"], audit["mention_tests"], audit["smallest"])
    summary += _of_calibration(audit["classes"])
    return summary + list(_of_domain(audit["domain"]))


def _of_axis(axis: SwapAxis, smallest: int) -> str:
    title, overall = capitalized(axis["title"]), axis["overall"]
    if overall["too_small"]:
        return (
            f"{title}: too few texts to judge ({overall['texts']:,} texts have a listed word that can be swapped, at "
            f"least {smallest} are needed)."
        )
    rates = (
        f"{title}: a word of another group changed {_rate(overall)} answers, another word of the same group "
        f"{overall['control_flips']:,}; "
    )
    span = f"{_points_span(overall['difference_interval'])} points"
    if not overall["beyond_chance"]:
        rates += f"the difference is within chance ({span})."
    elif overall["difference"] > 0:
        rates += (
            f"the difference is beyond chance ({span}, {p_equals(overall['p_holm'])}): the group matters."
        )
    else:
        rates += f"the swap changed fewer, beyond chance ({span}, {p_equals(overall['p_holm'])})."
    return " ".join([rates, *_of_groups(axis["groups"])])


def _of_groups(groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    judged = [group for group in groups if not group["too_small"]]
    beyond = [group for group in judged if group["beyond_chance"]]
    for group in sorted(beyond, key=lambda group: -abs(group["difference"]))[:MAX_SENTENCES]:
        yield (
            f"Towards {group['group']}: {_rate(group)} changed, in the control {group['control_flips']:,}, beyond "
            f"chance ({p_equals(group['p_holm'])})."
        )
    if len(beyond) > MAX_SENTENCES:
        yield f"The same holds for {plural(len(beyond) - MAX_SENTENCES, 'more group')}."
    if judged and not beyond:
        yield f"Of {plural(len(judged), 'group')} with enough texts, none differs from its control beyond chance."
    if small := [str(group["group"]) for group in groups if group["too_small"]]:
        yield f"Too few texts to judge {f'the groups {listed(small)}' if judged else 'any single group'}."


def _of_mentions(mentions: Sequence[Mentions], tests: MentionTests, smallest: int) -> Iterator[str]:
    parts = [(kind, part) for kind in mentions for part in kind["slices"]]
    beyond = [one for one in parts if one[1]["beyond_chance"] or one[1]["beyond_chance_same_classes"]]
    for kind, part in sorted(beyond, key=lambda one: _figure(one[1]["difference"]))[:MAX_SENTENCES]:
        finding = (
            f"{_mention(kind, part)}: accuracy {percent(_figure(part['accuracy']))} on {part['rows']:,} rows, "
            f"{points(_figure(part['difference']), 1)} points against all other rows ({_chance(part['beyond_chance'])})"
        )
        if part["rest_accuracy_same_classes"] is not None:
            within = _figure(part["accuracy"]) - part["rest_accuracy_same_classes"]
            chance = _chance(part["beyond_chance_same_classes"])
            finding += f", {points(within, 1)} against those of the same classes ({chance})"
        yield f"{finding}."
    if more := len(beyond) - min(len(beyond), MAX_SENTENCES):
        differ = "differs" if more == 1 else "differ"
        yield f"Of {tests['judged']:,} groups of texts by mention, {more} more {differ} from the others beyond chance."
    if tests["judged"] and not beyond:
        yield (
            f"Of {tests['judged']:,} groups of texts by mention of listed words, none is answered better or worse than "
            "the others beyond chance."
        )
    if tests["too_small"]:
        small = plural(tests["too_small"], "group")
        verb = "is" if tests["too_small"] == 1 else "are"
        yield f"{small} of texts by mention {verb} too small to judge (below {smallest} rows)."
    for kind, part in [one for one in parts if one[1]["gap_beyond_chance"]][:MAX_SENTENCES]:
        yield f"{_mention(kind, part)}: {_gap(part)}."


def _of_calibration(classes: Sequence[ClassAudit]) -> Iterator[str]:
    judged = [part for part in classes if part["answers"]["gap_p"] is not None]
    beyond = [part for part in judged if part["answers"]["gap_beyond_chance"]]
    for part in sorted(beyond, key=lambda part: -abs(_figure(part["answers"]["gap"])))[:MAX_SENTENCES]:
        yield f"The answer '{part['name']}': {_gap(part['answers'])}."
    if judged and not beyond:
        yield f"Of {plural(len(judged), 'class', 'classes')} with enough answers, none is miscalibrated beyond chance."


def _of_domain(domain: Domain) -> Iterator[str]:
    sets = {part["set"]: part for part in domain["sets"]}
    inside, above, threshold = sets["inside"], domain["above"], domain["policy_threshold"]
    names = {
        "outside": "texts of other kinds",
        "foreign": "texts in other languages",
        "shuffled": "texts with shuffled words",
    }
    for name, what in names.items():
        if name not in sets:
            continue
        part = sets[name]
        finding = (
            f"Of {part['texts']:,} {what}, {_share(part['above'])} are answered with confidence above {above}"
        )
        if threshold is not None and part["answered"] is not None:
            finding += f", and {_share(part['answered'])} at the policy's threshold {threshold:.3f}"
        if "kept" in part:
            finding += f"; {_share(part['kept'])} keep the answer of the original order"
        yield f"{finding}."
    sure = percent(inside["above"]["share"])
    finding = f"Of the rows of the split, {sure} are answered with confidence above {above}"
    if threshold is not None and inside["answered"] is not None:
        finding += f", and {percent(inside['answered']['share'])} at the policy's threshold"
    yield f"{finding}."
    if "empty" in sets:
        answer = next(iter(sets["empty"]["answers"]))
        yield f"An empty text is answered '{answer}' with confidence {percent(sets['empty']['mean'])}."


def _figure(value: float | None) -> float:
    """Return a figure that is None only for groups too small to judge; raises ValueError for None."""
    if value is None:
        raise ValueError("a group that was judged without a figure")
    return value


def _mention(kind: Mentions, part: Mapping[str, Any]) -> str:
    return f"Texts that mention {part['name']} ({kind['title']})"


def _chance(beyond: bool | None) -> str:
    return "beyond chance" if beyond else "within chance"


def _gap(part: Mapping[str, Any]) -> str:
    what = "overconfident" if part["gap"] > 0 else "underconfident"
    return (
        f"{what} beyond chance, mean confidence {percent(part['mean_confidence'])}, accuracy "
        f"{percent(part['accuracy'])} ({_span(part['accuracy_interval'])}) on {part['rows']:,} rows"
    )


def _rate(effect: Mapping[str, Any]) -> str:
    return (
        f"{effect['flips']:,} of {effect['texts']:,} ({percent(effect['flip_rate'])}, "
        f"{_span(effect['flip_rate_interval'])})"
    )


def _share(share: Mapping[str, Any]) -> str:
    return f"{share['texts']:,} ({percent(share['share'])}, {_span(share['share_interval'])})"


def _span(estimate: Interval) -> str:
    return percent_range(*limits_of(estimate))


def _points_span(estimate: Interval) -> str:
    return points_range(*limits_of(estimate), 1)
