"""Confidence outside the domain: other kinds of text, other languages, shuffled words, and an empty text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from submillion.assess.audit.wordlists import AuditWords
from submillion.assess.confidence_summary import ALWAYS_ABOVE
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.proportions import wilson_interval
from submillion.assess.statistics.slices import SMALLEST
from submillion.assess.visible_span import visible_spans
from submillion.run_format.analysis_audit import Domain, DomainKind, DomainSet, TextShare
from submillion.run_format.interval import CONFIDENCE, Interval, interval

INSIDE, OUTSIDE, FOREIGN, SHUFFLED, EMPTY = "inside", "outside", "foreign", "shuffled", "empty"
TITLES = {
    INSIDE: "rows of the split",
    OUTSIDE: "other kinds of text",
    FOREIGN: "other languages",
    SHUFFLED: "shuffled words",
    EMPTY: "an empty text",
}
MAX_SHUFFLED = 100
"""Texts of the split whose words are shuffled: around a share of 50%, an interval of 19 points."""
LEAST_WORDS = 4
"""Fewer words have too few other orders."""


@dataclass(frozen=True)
class OutOfDomainText:
    """One text from outside the domain."""

    set: str
    kind: str
    """Kind of text or language; for shuffled words the id of their row; empty for the empty text."""
    number: int
    """Number within its kind; for shuffled words the row."""
    text: str

    @property
    def id(self) -> str:
        """Its id in the saved predictions."""
        return f"{self.set} | {self.kind} | {self.number}"


def out_of_domain_texts(context: RunContext, words: AuditWords) -> list[OutOfDomainText]:
    """Return the texts; the same run and lists give the same.

    Words are shuffled within the part of a text that the classifier reads, for at most 100 distinct texts of the
    split with at least 4 words there, drawn from the run's seed.
    """
    listed = [
        OutOfDomainText(name, kind, number, text)
        for name, kinds in ((OUTSIDE, words.outside), (FOREIGN, words.foreign))
        for kind, texts in kinds.items()
        for number, text in enumerate(texts)
    ]
    rng = np.random.default_rng((context.seed, 1))
    texts, ids = context.texts(context.split), context.predictions(context.split).ids
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    drawn = rng.permutation(list(first.values())).tolist()
    # Some may have too few words after truncation, so twice as many are tried.
    rows = [row for row in drawn if len(texts[row].split(None, LEAST_WORDS)) >= LEAST_WORDS]
    rows = rows[: 2 * MAX_SHUFFLED]
    shuffled = []
    for row, spans in zip(rows, visible_spans(context, [texts[row] for row in rows]), strict=True):
        read = [word for start, end in spans for word in texts[row][start:end].split()]
        if len(read) >= LEAST_WORDS:
            text = " ".join(read[place] for place in rng.permutation(len(read)))
            shuffled.append(OutOfDomainText(SHUFFLED, ids[row], row, text))
    return [*listed, *shuffled[:MAX_SHUFFLED], OutOfDomainText(EMPTY, "", 0, "")]


def domain_confidence(
    texts: Sequence[OutOfDomainText],
    probabilities: np.ndarray,
    inside: np.ndarray,
    names: Sequence[str],
    threshold: float | None,
) -> Domain:
    """Compare the confidence outside the domain with the confidence inside.

    Args:
        texts: the M texts.
        probabilities: theirs, [M, C].
        inside: those of the split's rows, [N, C], N at least 1.
        names: the C class names.
        threshold: confidence from which the run's policy answers; None without a policy.

    Returns:
        `above` (0.9), `policy_threshold`, and `sets`: for `inside`, `outside`, `foreign`, `shuffled` and
        `empty`, if they have texts, {`set`, `title`, `texts`, `too_small` (fewer than `slices.SMALLEST`),
        `mean`, `median` (of the confidence), `above` {`texts`, `share`, `share_interval`} (confidence over 0.9),
        `answered` (the same for at least the policy's threshold; None without one), `answers` ({class: texts}, most
        frequent first)}; for `outside` and `foreign` also `kinds` ({`kind`, `texts`, `above`, `mean`, `answers`}; too
        few each for shares); for `shuffled` `kept` {`texts`, `share`, `share_interval`} (same answer as with the words
        in order), and for these three `less_sure` (see the function).
    """
    sets = [_described(INSIDE, inside, names, threshold)]
    top = inside.max(axis=1).astype(np.float64)
    for name in (OUTSIDE, FOREIGN, SHUFFLED, EMPTY):
        places = [place for place, text in enumerate(texts) if text.set == name]
        if not places:
            continue
        own, members = probabilities[places], [texts[place] for place in places]
        entry = _described(name, own, names, threshold)
        if name in (OUTSIDE, FOREIGN):
            entry["kinds"] = _by_kind(members, own, names)
        if name == SHUFFLED:
            before = inside[[text.number for text in members]].argmax(axis=1)
            entry["kept"] = _share(int((own.argmax(axis=1) == before).sum()), len(places))
        if name != EMPTY:
            entry["less_sure"] = less_sure(top, own.max(axis=1).astype(np.float64))
        sets.append(entry)
    return {"above": ALWAYS_ABOVE, "policy_threshold": threshold, "sets": sets}


def less_sure(inside: np.ndarray, outside: np.ndarray) -> Interval:
    """Return the probability that a confidence from outside is lower than one from inside, ties counted half.

    The area under the ROC curve of Hendrycks and Gimpel 2017, arXiv:1610.02136. Interval: E. R. DeLong, D. M. DeLong
    and D. L. Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic
    curves", Biometrics 44 (1988) 837-845: the variance of the area is that of the placements of both samples. Clipped
    to [0, 1]; for a single text there is no variance, so the interval is 0 to 1.

    Args:
        inside: [N].
        outside: [M].
    """

    def placements(of: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Return the share of `among` below each of `of`, ties counted half."""
        ordered = np.sort(among)
        below = np.searchsorted(ordered, of, "left") + np.searchsorted(ordered, of, "right")
        return below / (2 * len(among))

    of_inside, of_outside = placements(inside, outside), 1 - placements(outside, inside)
    share = float(of_outside.mean())
    if min(len(inside), len(outside)) < 2:
        return interval(share, 0.0, 1.0)
    variance = of_inside.var(ddof=1) / len(inside) + of_outside.var(ddof=1) / len(outside)
    reach = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * math.sqrt(float(variance))
    return interval(share, max(share - reach, 0.0), min(share + reach, 1.0))


def _described(
    name: str, probabilities: np.ndarray, names: Sequence[str], threshold: float | None
) -> DomainSet:
    top = probabilities.max(axis=1).astype(np.float64)
    return {
        "set": name,
        "title": TITLES[name],
        "texts": len(top),
        "too_small": len(top) < SMALLEST,
        "mean": float(top.mean()),
        "median": float(np.median(top)),
        "above": _share(int((top > ALWAYS_ABOVE).sum()), len(top)),
        "answered": None if threshold is None else _share(int((top >= threshold).sum()), len(top)),
        "answers": _answers(probabilities, names),
    }


def _by_kind(
    members: Sequence[OutOfDomainText], probabilities: np.ndarray, names: Sequence[str]
) -> list[DomainKind]:
    kinds: list[DomainKind] = []
    for kind in dict.fromkeys(text.kind for text in members):
        own = probabilities[[place for place, text in enumerate(members) if text.kind == kind]]
        top = own.max(axis=1).astype(np.float64)
        above, answers = int((top > ALWAYS_ABOVE).sum()), _answers(own, names)
        kinds.append(
            {"kind": kind, "texts": len(own), "above": above, "mean": float(top.mean()), "answers": answers}
        )
    return kinds


def _answers(probabilities: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    """Return the number of texts by answer, most frequent first; answers without texts are left out."""
    counts = np.bincount(probabilities.argmax(axis=1), minlength=len(names)).tolist()
    ranked = sorted(range(len(names)), key=lambda index: (-counts[index], index))
    return {names[index]: counts[index] for index in ranked if counts[index]}


def _share(successes: int, trials: int) -> TextShare:
    share_interval = wilson_interval(successes, trials)
    return {"texts": successes, "share": successes / trials, "share_interval": share_interval}
