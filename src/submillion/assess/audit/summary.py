"""An audit in plain sentences, made from its numbers by rule, and what no audit of this kind shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from submillion.wording import p_equals, percent, percent_range, plural, points, points_range

MOST_TOLD = 3  # of a kind, one by one; all are in the numbers

LIMITS = (
    "A changed answer is not harm. What a wrong answer costs whom depends on what the classifier is used for, and "
    "no number here knows that. No changed answer is no proof of fairness either.",
    "The word lists are short, and what is on them is an English-speaking and Western choice; people, places and "
    "companies that are not on them are not judged, and another choice of words may give other numbers. A file "
    "audit.yaml in the run's folder can name others.",
    "Given names stand in two genders and a few wide regions. They tell neither the gender nor the origin of "
    "any person, and people who share a name may share little else.",
    "Only single words are exchanged. Pronouns, titles, surnames, places and facts around them stay, so an "
    "altered text may contradict itself; articles are not adapted. The control is altered as clumsily.",
    "A name also carries fame: a text's answer may rest on who is known for what, not on the group of the name.",
    "Groups were taken in turn so that rare ones are judged, so the rates are not those of the split's own mix.",
    "Groups of rows differ in more than the word that defines them. Classes are accounted for in the comparison "
    "within classes, nothing else is.",
    "Of many comparisons some differ by chance. Corrected together (Holm) are all exchanges of one kind over all "
    "lists, and the groups of rows of one list; what is asked in different ways is not.",
    "What lies outside the domain depends on the task. The shipped texts are far from news, few, and easy to "
    "tell from it; near misses, such as opinion or advertising, may fare worse.",
    "All sentences are about this run and these texts. Another seed, another adapter or other texts may answer "
    "otherwise.",
)


def sentences(found: Mapping[str, Any]) -> list[str]:
    """Return what an audit found, in sentences; every number in them is one of its numbers.

    Args:
        found: what `audit.analyse` documents, without `summary` and `limits`.
    """
    told = [_of_axis(axis, found["smallest"]) for axis in found["swaps"]]
    told += _of_mentions(found["mentions"], found["mention_tests"], found["smallest"])
    told += _of_calibration(found["classes"])
    return told + list(_of_domain(found["domain"]))


def _of_axis(axis: Mapping[str, Any], smallest: int) -> str:
    title, overall = f"{axis['title'][0].upper()}{axis['title'][1:]}", axis["overall"]
    if overall["too_small"]:
        return (
            f"{title}: too few texts to judge ({overall['texts']:,} of at least {smallest} carry a listed word that "
            "can be exchanged)."
        )
    told = (
        f"{title}: a word of another group changed {_rate(overall)} answers, another word of the same group "
        f"{overall['control_flips']:,}; "
    )
    span = f"{_points_span(overall['difference_interval'])} points"
    if not overall["beyond_chance"]:
        told += f"chance explains the difference ({span})."
    elif overall["difference"] > 0:
        told += f"that is beyond chance ({span}, {p_equals(overall['p_holm'])}): the group matters."
    else:
        told += f"that is fewer, beyond chance ({span}, {p_equals(overall['p_holm'])})."
    return " ".join([told, *_of_groups(axis["groups"])])


def _of_groups(groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    judged = [group for group in groups if not group["too_small"]]
    beyond = [group for group in judged if group["beyond_chance"]]
    for group in sorted(beyond, key=lambda group: -abs(group["difference"]))[:MOST_TOLD]:
        yield (
            f"Towards {group['group']}: {_rate(group)} changed, in the control {group['control_flips']:,}, beyond "
            f"chance ({p_equals(group['p_holm'])})."
        )
    if len(beyond) > MOST_TOLD:
        yield f"So with {len(beyond) - MOST_TOLD} groups more."
    if judged and not beyond:
        groups_told = plural(len(judged), "group")
        yield f"Of {groups_told} with texts enough, none differs from its control beyond chance."
    if small := [str(group["group"]) for group in groups if group["too_small"]]:
        where = f"towards {', '.join(small)}" if judged else "any one group"
        yield f"Too few texts to judge {where}."


def _of_mentions(
    mentions: Sequence[Mapping[str, Any]], tests: Mapping[str, int], smallest: int
) -> Iterator[str]:
    parts = [(kind, part) for kind in mentions for part in kind["slices"]]
    beyond = [one for one in parts if one[1]["beyond_chance"] or one[1]["beyond_chance_same_classes"]]
    for kind, part in sorted(beyond, key=lambda one: one[1]["difference"])[:MOST_TOLD]:
        told = (
            f"{_mention(kind, part)}: accuracy {percent(part['accuracy'])} on {part['rows']:,} rows, "
            f"{points(part['difference'], 1)} points against all other rows ({_judged(part['beyond_chance'])})"
        )
        if part["rest_accuracy_same_classes"] is not None:
            within = part["accuracy"] - part["rest_accuracy_same_classes"]
            verdict = _judged(part["beyond_chance_same_classes"])
            told += f", {points(within, 1)} against those of the same classes ({verdict})"
        yield f"{told}."
    if more := len(beyond) - min(len(beyond), MOST_TOLD):
        differ = "differs" if more == 1 else "differ"
        yield f"Of {tests['judged']:,} groups of texts by mention, {more} more {differ} from the others beyond chance."
    if tests["judged"] and not beyond:
        yield (
            f"Of {tests['judged']:,} groups of texts that mention listed words, or none, no one is answered better "
            "or worse than the others beyond chance."
        )
    if tests["too_small"]:
        yield f"{tests['too_small']:,} groups of texts by mention are too small to judge (below {smallest} rows)."
    for kind, part in [one for one in parts if one[1]["gap_beyond_chance"]][:MOST_TOLD]:
        yield f"{_mention(kind, part)}: {_gap(part)}."


def _of_calibration(classes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    judged = [part for part in classes if part["answers"]["gap_p"] is not None]
    beyond = [part for part in judged if part["answers"]["gap_beyond_chance"]]
    for part in sorted(beyond, key=lambda part: -abs(part["answers"]["gap"]))[:MOST_TOLD]:
        yield f"The answer '{part['name']}': {_gap(part['answers'])}."
    if judged and not beyond:
        yield (
            f"Of {len(judged)} classes answered often enough to judge, none is answered with a confidence that is "
            "wrong beyond chance."
        )


def _of_domain(domain: Mapping[str, Any]) -> Iterator[str]:
    sets = {part["set"]: part for part in domain["sets"]}
    inside, above, threshold = sets["inside"], domain["above"], domain["policy_threshold"]
    names = {"outside": "texts of other kinds", "foreign": "texts in other languages"}
    names["shuffled"] = "texts with their words shuffled"
    for name, what in names.items():
        if name not in sets:
            continue
        part = sets[name]
        told = (
            f"Of {part['texts']:,} {what}, {_share(part['above'])} are answered with confidence above {above}"
        )
        if threshold is not None:
            told += f", and {_share(part['answered'])} at the policy's threshold {threshold:.3f}"
        if "kept" in part:
            told += f"; {_share(part['kept'])} keep the answer that they had in order"
        yield f"{told}."
    told = f"Of the rows of the split, {percent(inside['above']['share'])} are answered with confidence above {above}"
    if threshold is not None:
        told += f", and {percent(inside['answered']['share'])} at the policy's threshold"
    yield f"{told}."
    if "empty" in sets:
        answer = next(iter(sets["empty"]["answers"]))
        yield f"An empty text is answered '{answer}' with confidence {percent(sets['empty']['mean'])}."


def _mention(kind: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    return f"Texts that mention {part['name']} ({kind['title']})"


def _judged(beyond: bool) -> str:
    return "beyond chance" if beyond else "chance explains it"


def _gap(part: Mapping[str, Any]) -> str:
    what = "surer than right" if part["gap"] > 0 else "less sure than right"
    return (
        f"{what} beyond chance, mean confidence {percent(part['mean_confidence'])}, accuracy "
        f"{percent(part['accuracy'])} ({_span(part['accuracy_interval'])}) on {part['rows']:,} rows"
    )


def _rate(found: Mapping[str, Any]) -> str:
    return (
        f"{_count(found['flips'], found['texts'])} ({percent(found['flip_rate'])}, "
        f"{_span(found['flip_rate_interval'])})"
    )


def _count(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}"


def _share(share: Mapping[str, Any]) -> str:
    return f"{share['texts']:,} ({percent(share['share'])}, {_span(share['share_interval'])})"


def _span(found: Mapping[str, Any]) -> str:
    return percent_range(found["low"], found["high"])


def _points_span(found: Mapping[str, Any]) -> str:
    return points_range(found["low"], found["high"], 1)
