"""What a classifier says outside its domain: other kinds of text, other languages, shuffled words, nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from submillion.assess.audit.wordlists import AuditWords
from submillion.assess.confidence_summary import ALWAYS_ABOVE
from submillion.assess.metrics import wilson_interval
from submillion.assess.statistics.slices import SMALLEST
from submillion.assess.visible_span import seen_spans
from submillion.run_format.interval import CONFIDENCE, Interval, interval

if TYPE_CHECKING:
    import numpy as np

    from submillion.assess.run_context import RunContext

INSIDE, OUTSIDE, FOREIGN, SHUFFLED, EMPTY = "inside", "outside", "foreign", "shuffled", "empty"
TITLES = {
    INSIDE: "rows of the split",
    OUTSIDE: "other kinds of text",
    FOREIGN: "other languages",
    SHUFFLED: "shuffled words",
    EMPTY: "an empty text",
}
MOST_SHUFFLED = 100  # texts of the split whose words are shuffled: at a half, an interval of 19 points
LEAST_WORDS = 4  # fewer words have hardly another order


@dataclass(frozen=True)
class Strange:
    """One text that is not of the domain."""

    set: str
    kind: str
    """Kind of text or language; of shuffled words the id of the row they are from; of the empty text nothing."""
    number: int
    """Which of its kind; of shuffled words the row."""
    text: str

    @property
    def id(self) -> str:
        """How it is called in the saved predictions."""
        return f"{self.set} | {self.kind} | {self.number}"


def build_domain(context: RunContext, words: AuditWords) -> list[Strange]:
    """Return the texts; the same run and lists give the same.

    Shuffled are the words within what the classifier sees of a text, for at most 100 distinct texts of the
    split that have at least 4 there, drawn from the run's seed.
    """
    import numpy as np

    found = [
        Strange(name, kind, number, text)
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
    # Some of them may have too few words before the cut, so that more are looked at.
    rows = [row for row in drawn if len(texts[row].split(None, LEAST_WORDS)) >= LEAST_WORDS][
        : 2 * MOST_SHUFFLED
    ]
    shuffled = []
    for row, (start, end) in zip(rows, seen_spans(context, [texts[row] for row in rows]), strict=True):
        seen = texts[row][start:end].split()
        if len(seen) >= LEAST_WORDS:
            text = " ".join(seen[place] for place in rng.permutation(len(seen)))
            shuffled.append(Strange(SHUFFLED, ids[row], row, text))
    return [*found, *shuffled[:MOST_SHUFFLED], Strange(EMPTY, "", 0, "")]


def measured(
    strange: Sequence[Strange],
    probabilities: np.ndarray,
    inside: np.ndarray,
    names: Sequence[str],
    threshold: float | None,
) -> dict[str, Any]:
    """Return how sure the classifier is outside its domain, and how sure inside.

    Args:
        strange: the M texts.
        probabilities: theirs, [M, C].
        inside: those of the split's rows, [N, C], N at least 1.
        threshold: confidence from which the run's policy answers; None where it has none.

    Returns:
        `above` (0.9), `policy_threshold`, and `sets`: for `inside`, `outside`, `foreign`, `shuffled` and
        `empty`, where they have texts, {`set`, `title`, `texts`, `too_small` (fewer than `slices.SMALLEST`),
        `mean`, `median` (of the confidence), `above` {`texts`, `share`, `share_interval`} (confidence over 0.9;
        Wilson), `answered` (the same for at least the policy's threshold; None without one), `answers`
        ({class: texts}, the most frequent first)}; of `outside` and `foreign` also `kinds` ({`kind`, `texts`,
        `above`, `mean`, `answers`}; too few each for shares); of `shuffled` `kept` {`texts`, `share`,
        `share_interval`} (the answer is that to the words in order), and of these three `less_sure`, an
        interval: the probability that such a text is answered with less confidence than a row of the split,
        ties counted half (the area under the ROC curve of Hendrycks and Gimpel 2017, arXiv:1610.02136); its
        interval is DeLong's.
    """
    import numpy as np

    sets = [_described(INSIDE, inside, names, threshold)]
    top = inside.max(axis=1).astype(np.float64)
    for name in (OUTSIDE, FOREIGN, SHUFFLED, EMPTY):
        places = [place for place, text in enumerate(strange) if text.set == name]
        if not places:
            continue
        own, members = probabilities[places], [strange[place] for place in places]
        found = _described(name, own, names, threshold)
        if name in (OUTSIDE, FOREIGN):
            found["kinds"] = _by_kind(members, own, names)
        if name == SHUFFLED:
            before = inside[[text.number for text in members]].argmax(axis=1)
            found["kept"] = _share(int((own.argmax(axis=1) == before).sum()), len(places))
        if name != EMPTY:
            found["less_sure"] = less_sure(top, own.max(axis=1).astype(np.float64))
        sets.append(found)
    return {"above": ALWAYS_ABOVE, "policy_threshold": threshold, "sets": sets}


def less_sure(inside: np.ndarray, outside: np.ndarray) -> Interval:
    """Return the probability that a confidence from outside is lower than one from inside, with its interval.

    E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the areas under two or more correlated
    receiver operating characteristic curves", Biometrics 44 (1988) 837-845: the variance of the area is that
    of the placements, taken of both samples. Cut to [0, 1]; of one text there is no variance, so nothing is
    known: 0 to 1.

    Args:
        inside: [N].
        outside: [M].
    """
    import numpy as np

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
) -> dict[str, Any]:
    import numpy as np

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
    members: Sequence[Strange], probabilities: np.ndarray, names: Sequence[str]
) -> list[dict[str, Any]]:
    import numpy as np

    found = []
    for kind in dict.fromkeys(text.kind for text in members):
        own = probabilities[[place for place, text in enumerate(members) if text.kind == kind]]
        top = own.max(axis=1).astype(np.float64)
        above, answers = int((top > ALWAYS_ABOVE).sum()), _answers(own, names)
        found.append(
            {"kind": kind, "texts": len(own), "above": above, "mean": float(top.mean()), "answers": answers}
        )
    return found


def _answers(probabilities: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    """Return how many texts got each answer, the most frequent first; answers nobody got are left out."""
    import numpy as np

    counts = np.bincount(probabilities.argmax(axis=1), minlength=len(names)).tolist()
    ranked = sorted(range(len(names)), key=lambda index: (-counts[index], index))
    return {names[index]: counts[index] for index in ranked if counts[index]}


def _share(successes: int, trials: int) -> dict[str, Any]:
    found = wilson_interval(successes, trials)
    return {"texts": successes, "share": found["value"], "share_interval": found}
