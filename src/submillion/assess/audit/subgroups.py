"""Accuracy and calibration by class, by answer, and by the listed words that a text mentions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from submillion.assess.audit.word_finder import Match
from submillion.assess.audit.wordlists import WordList
from submillion.assess.statistics.exact_tests import calibrated_p
from submillion.assess.statistics.multiple_tests import add_holm
from submillion.assess.statistics.proportions import wilson, wilson_interval
from submillion.assess.statistics.slices import SMALLEST, Answers, compare_slices
from submillion.run_format.analysis_audit import (
    CalibratedAnswers,
    CalibratedSlice,
    Calibration,
    ClassAudit,
    GroupAccuracy,
    Mentions,
)
from submillion.run_format.interval import ALPHA, interval

NO_MENTION = "none of the listed"


def by_class(answers: Answers, predicted: np.ndarray, names: Sequence[str]) -> list[ClassAudit]:
    """Describe how the rows of each class are answered, and how calibrated each answer is.

    Confidence is compared with accuracy by answer: for rows selected by their true class, the confidence of a
    calibrated classifier is not the accuracy. No test compares classes, since some are naturally harder.

    Args:
        answers: the N answers.
        predicted: predicted class per row, int [N].
        names: class names by index.
    """
    by_answer: list[CalibratedAnswers] = [
        {**_accuracy(predicted == index, answers), **calibration(predicted == index, answers)}
        for index in range(len(names))
    ]
    add_significance(by_answer)
    classes: list[ClassAudit] = []
    for index, name in enumerate(names):
        of_class = _accuracy(answers.labels == index, answers)
        classes.append(
            {
                "name": name,
                "rows": of_class["rows"],
                "too_small": of_class["too_small"],
                "accuracy": of_class["accuracy"],
                "accuracy_interval": of_class["accuracy_interval"],
                "answers": by_answer[index],
            }
        )
    return classes


def by_mention(words: WordList, matches: Sequence[Sequence[Match]], answers: Answers) -> list[Mentions]:
    """Compare the texts that mention a listed word of each group with all other texts.

    Args:
        words: the word list.
        matches: its words in each of the N texts.
        answers: the N answers.

    Returns:
        For each level of the list, the slices of `compare_slices` with the keys of `calibration`, corrected over the
        slices of the level. Groups that no text mentions are left out; if no text mentions any, all are.
    """
    named = np.array([bool(row) for row in matches], dtype=bool)
    mentions: list[Mentions] = []
    for index, level in enumerate(words.levels):
        of_row = [{match.word.place[index] for match in row} for row in matches]
        groups = {
            group: np.array([group in row for row in of_row], dtype=bool) for group in words.groups(index)
        }
        groups = {name: mask for name, mask in (groups | {NO_MENTION: ~named}).items() if mask.any()}
        slices: list[CalibratedSlice] = []
        if named.any():
            slices = [
                {**part, **calibration(groups[part["name"]], answers)}
                for part in compare_slices(groups, answers)
            ]
        add_significance(slices)
        title = f"{words.title}, by {level}"
        mentions.append({"axis": f"{words.kind}.{level}", "title": title, "slices": slices})
    return mentions


def calibration(mask: np.ndarray, answers: Answers) -> Calibration:
    """Compare the confidence of a group of rows with its accuracy.

    Args:
        mask: the group, bool [N].
        answers: the N answers.

    Returns:
        `too_small` (fewer rows than `slices.SMALLEST`), `mean_confidence`, `gap` (mean confidence minus accuracy:
        positive if overconfident) and `gap_interval` (mean confidence minus the limits of the accuracy), all None
        without rows; `gap_p`: p-value of the number of right answers if every confidence is calibrated, None for too
        few rows. `add_significance` adds to it.
    """
    rows, correct = int(mask.sum()), int(answers.right[mask].sum())
    too_small = rows < SMALLEST
    if not rows:
        return {
            "too_small": too_small,
            "mean_confidence": None,
            "gap": None,
            "gap_interval": interval(None),
            "gap_p": None,
        }
    low, high = wilson(correct, rows)
    confidence = answers.confidence[mask]
    mean = float(confidence.mean())
    return {
        "too_small": too_small,
        "mean_confidence": mean,
        "gap": mean - correct / rows,
        "gap_interval": interval(mean - correct / rows, mean - high, mean - low),
        "gap_p": None if too_small else calibrated_p(confidence, rows - correct),
    }


def add_significance(parts: Sequence[CalibratedAnswers] | Sequence[CalibratedSlice]) -> None:
    """Add `gap_p_holm` and `gap_beyond_chance` to what `calibration` returned; None if not tested."""
    add_holm(parts, "gap_p", "gap_p_holm")
    for part in parts:
        corrected = part.get("gap_p_holm")
        part["gap_beyond_chance"] = None if corrected is None else corrected < ALPHA


def _accuracy(mask: np.ndarray, answers: Answers) -> GroupAccuracy:
    rows, correct = int(mask.sum()), int(answers.right[mask].sum())
    accuracy = wilson_interval(correct, rows)
    return {
        "rows": rows,
        "too_small": rows < SMALLEST,
        "accuracy": accuracy["value"],
        "accuracy_interval": accuracy,
    }
