"""Accuracy and calibration by class, by answer, and by the listed words that a text mentions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from submillion.assess.metrics import wilson, wilson_interval
from submillion.assess.statistics.paired_tests import holm
from submillion.assess.statistics.slices import NEVER, SMALLEST, Answers, compare
from submillion.run_format.interval import ALPHA, interval

if TYPE_CHECKING:
    import numpy as np

    from submillion.assess.audit.word_finder import Match
    from submillion.assess.audit.wordlists import WordList

NONE = "none of the listed"


def by_class(answers: Answers, predicted: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return how the rows of each class are answered, and how sure and right each answer is.

    Confidence is held against accuracy by the answer: of rows chosen by their true class, the confidence of a
    calibrated classifier is not the accuracy. No test compares classes: that some are harder is no finding.

    Returns:
        Per class `name`, `rows`, `too_small` (fewer than `slices.SMALLEST`), `accuracy` (share of them answered
        with it), `accuracy_interval` (Wilson), and `answers`: of the rows answered with this
        class `rows`, `accuracy`, `accuracy_interval` and what `calibration` returns, corrected over the classes.
    """
    found = []
    for index, name in enumerate(names):
        answered = predicted == index
        of_answer = _accuracy(answered, answers) | calibration(answered, answers)
        of_class = _accuracy(answers.labels == index, answers)
        found.append({"name": name} | of_class | {"answers": of_answer})
    judge(part["answers"] for part in found)
    return found


def by_mention(words: WordList, matches: Sequence[Sequence[Match]], answers: Answers) -> list[dict[str, Any]]:
    """Compare the texts that mention a listed word of each group with all others.

    Args:
        matches: the list's words in each of the N texts.

    Returns:
        Per level of the list {`axis`, `title`, `slices`}: the slices as `slices.compare` returns them, with
        what `calibration` adds, corrected over the slices of the level; groups that no text mentions are left
        out, and so are all where no text mentions any.
    """
    import numpy as np

    named = np.array([bool(row) for row in matches], dtype=bool)
    found = []
    for index, level in enumerate(words.levels):
        of_row = [{match.entry.place[index] for match in row} for row in matches]
        groups = {
            group: np.array([group in row for row in of_row], dtype=bool) for group in words.groups(index)
        }
        groups = {name: mask for name, mask in (groups | {NONE: ~named}).items() if mask.any()}
        slices = compare(groups, answers) if named.any() else []
        for part in slices:
            part |= calibration(groups[part["name"]], answers)
        judge(slices)
        title = f"{words.title}, by {level}"
        found.append({"axis": f"{words.kind}.{level}", "title": title, "slices": slices})
    return found


def calibration(mask: np.ndarray, answers: Answers) -> dict[str, Any]:
    """Hold the confidence of a group of rows against its accuracy.

    Returns:
        `too_small` (fewer rows than `slices.SMALLEST`), `mean_confidence`, `gap` (mean confidence less accuracy:
        above 0 it is too sure) and `gap_interval` (that of the accuracy, taken from the
        confidence), all None without rows; `gap_p`: how probable so many right answers, or more
        extreme, are if every confidence is true; None where too few rows. `judge` adds to it.
    """
    rows, correct = int(mask.sum()), int(answers.right[mask].sum())
    found: dict[str, Any] = {"too_small": rows < SMALLEST}
    if not rows:
        return found | dict.fromkeys(("mean_confidence", "gap", "gap_p")) | {"gap_interval": interval(None)}
    low, high = wilson(correct, rows)
    confidence = answers.confidence[mask]
    mean = float(confidence.mean())
    found |= {
        "mean_confidence": mean,
        "gap": mean - correct / rows,
        "gap_interval": interval(mean - correct / rows, mean - high, mean - low),
    }
    return found | {"gap_p": None if found["too_small"] else calibrated_p(confidence, rows - correct)}


def judge(parts: Iterable[dict[str, Any]]) -> None:
    """Add `gap_p_holm` and `gap_beyond_chance` to what `calibration` returned: None where nothing was tested."""
    parts = list(parts)
    tested = [part for part in parts if part["gap_p"] is not None]
    for part in parts:
        part |= {"gap_p_holm": None, "gap_beyond_chance": None}
    for part, corrected in zip(tested, holm([part["gap_p"] for part in tested]), strict=True):
        part |= {"gap_p_holm": corrected, "gap_beyond_chance": corrected < ALPHA}


def calibrated_p(confidence: np.ndarray, wrong: int) -> float:
    """Return the exact two-sided p-value of so many wrong answers if every confidence is true.

    Each answer is then wrong with probability 1 less its confidence, and their number has the Poisson binomial
    distribution, the convolution of the single ones. The p-value adds up all outcomes that are no more probable
    than the one seen. A normal approximation would call one mistake in thirty very sure answers impossible.

    Args:
        confidence: [n], each the probability of the answer given.
    """
    import numpy as np

    density, first = np.ones(1), 0
    for share in (1 - confidence).tolist():
        density = np.convolve(density, [1 - share, share])
        if density[0] < NEVER or density[-1] < NEVER:
            likely = np.flatnonzero(density >= NEVER)
            density, first = density[likely[0] : likely[-1] + 1], first + int(likely[0])
    if not 0 <= wrong - first < len(density):
        return 0.0
    # The margin for rounding: outcomes as probable as the seen one must count as such.
    return min(1.0, float(density[density <= density[wrong - first] * (1 + 1e-7)].sum()))


def _accuracy(mask: np.ndarray, answers: Answers) -> dict[str, Any]:
    rows, correct = int(mask.sum()), int(answers.right[mask].sum())
    found = wilson_interval(correct, rows)
    return {
        "rows": rows,
        "too_small": rows < SMALLEST,
        "accuracy": found["value"],
        "accuracy_interval": found,
    }
