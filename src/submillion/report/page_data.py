"""Data of the page's tables and texts: shaded confusion matrix, histogram bins, marked words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from submillion.report.class_figures import FEWER_CLASSES
from submillion.report.confidence_figures import BIN
from submillion.run_format.predictions import Predictions

HEAT_STEPS = 10  # classes h0 to h9 in page.css
MAX_LOGGED = 60  # rows of the table of logged losses
MIN_MARKED = 0.2  # of the largest weight in a text; words below are not marked
STRONG = 0.5  # of the largest weight
MAX_LISTED = 6  # words listed for and against a prediction


@dataclass(frozen=True)
class HeatCell:
    """One cell of the confusion matrix: its rows, their share of the true class, and its shade."""

    count: int
    share: float | None
    step: int
    diagonal: bool


@dataclass(frozen=True)
class Word:
    """A piece of an explained text: `kind` is `for`, `against`, or empty for unmarked text."""

    text: str
    kind: str = ""
    strong: bool = False


def heat(confusion: Sequence[Sequence[int]]) -> list[list[HeatCell]]:
    """Return the cells of the confusion matrix, shaded by the square root of their share of the true class.

    The square root makes even a hundredth of a class visible.
    """
    table = []
    for row, counts in enumerate(confusion):
        of_class = sum(counts)
        cells = []
        for column, count in enumerate(counts):
            share = count / of_class if of_class else None
            step = math.ceil((HEAT_STEPS - 1) * math.sqrt(share)) if share else 0
            cells.append(HeatCell(count, share, step, row == column))
        table.append(cells)
    return table


def lowest_f1(per_class: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of the FEWER_CLASSES classes with the lowest F1, lowest first."""
    return dict(_by_f1(per_class)[:FEWER_CLASSES])


def weakest(scores: Mapping[str, Any], names: Sequence[str], limit: int = 3) -> list[dict[str, Any]]:
    """Return the classes with the lowest F1 among those with mistakes, lowest first.

    Args:
        scores: of a split, with `per_class` and `confusion`.
        names: class names by index.
        limit: number of classes.

    Returns:
        For each: `name`, `rows`, `f1`, and `taken_for`, its two most frequent wrong predictions with their `rows`.
    """
    pairs = confused_pairs(scores["confusion"], names, limit=len(names) ** 2)
    return [
        {
            "name": name,
            "rows": score["support"],
            "f1": score["f1"],
            "taken_for": [pair for pair in pairs if pair["true"] == name][:2],
        }
        for name, score in _by_f1(scores["per_class"])
        if score["f1"] < 1 and score["support"]
    ][:limit]


def confused_pairs(
    confusion: Sequence[Sequence[int]], names: Sequence[str], limit: int = 100
) -> list[dict[str, Any]]:
    """Return the non-empty cells off the diagonal, largest first: `true`, `predicted`, `rows`, `share`."""
    pairs: list[dict[str, Any]] = []
    for row, counts in enumerate(confusion):
        of_class = sum(counts)
        pairs += [
            {"true": names[row], "predicted": names[column], "rows": count, "share": count / of_class}
            for column, count in enumerate(counts)
            if count and row != column
        ]
    return sorted(pairs, key=lambda pair: -pair["rows"])[:limit]


def _by_f1(per_class: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the classes with their scores, the lowest F1 first, of equal ones the class with the most rows."""
    return sorted(per_class.items(), key=lambda item: (item[1]["f1"], -item[1]["support"]))


def confidence_bins(predictions: Predictions) -> list[dict[str, Any]]:
    """Return the non-empty bins of the confidence histogram: `low`, `high`, `rows`, `correct` and `wrong`.

    Without labels, `correct` and `wrong` are None.
    """
    top = predictions.probabilities.max(axis=1)
    edges = np.linspace(0, 1, round(1 / BIN) + 1)
    counts = np.histogram(top, edges)[0]
    correct = None
    if predictions.labels is not None:
        correct = np.histogram(top[predictions.labels == predictions.predicted], edges)[0]
    return [
        {
            "low": float(edges[index]),
            "high": float(edges[index + 1]),
            "rows": int(counts[index]),
            "correct": None if correct is None else int(correct[index]),
            "wrong": None if correct is None else int(counts[index] - correct[index]),
        }
        for index in np.flatnonzero(counts)
    ]


def thinned(records: Sequence[Any], limit: int = MAX_LOGGED) -> list[Any]:
    """Return at most `limit` of the records, evenly spaced, including the first and the last."""
    if len(records) <= limit:
        return list(records)
    return [records[round(index * (len(records) - 1) / (limit - 1))] for index in range(limit)]


def marked(words: Iterable[Sequence[Any]], gap: int | None = None) -> list[Word]:
    """Return an explained text in pieces: marked words, and the text between them.

    Args:
        words: [word, weight] in the order of the text. The words joined are the text, and so are the pieces.
        gap: number of words before a part that was not read; [...] takes its place. None if there is none.
    """
    pairs = [(str(word), float(weight)) for word, weight in words]
    largest = max((abs(weight) for _, weight in pairs), default=0.0)
    pieces: list[Word] = []
    between = ""
    for place, (text, weight) in enumerate(pairs):
        between += " [...] " if place == gap else ""
        share = abs(weight) / largest if largest else 0.0
        bare = text.strip()
        if share < MIN_MARKED or not bare:
            between += text
            continue
        before, _, after = text.partition(bare)
        if between + before:
            pieces.append(Word(between + before))
        pieces.append(Word(bare, "for" if weight > 0 else "against", share >= STRONG))
        between = after
    return [*pieces, Word(between)] if between else pieces


def significant_slices(kinds: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the slices whose accuracy differs significantly from the other rows, with the `title` of their kind."""
    return [
        part | {"title": kind["title"]}
        for kind in kinds
        for part in kind["slices"]
        if part["beyond_chance"] or part["beyond_chance_same_classes"]
    ]


def heaviest(words: Iterable[Sequence[Any]], sign: int, limit: int = MAX_LISTED) -> list[tuple[str, float]]:
    """Return the words with the largest weights for (`sign` 1) or against (-1) a prediction, largest first."""
    pairs = [(str(word).strip(), float(weight)) for word, weight in words]
    candidates = [pair for pair in pairs if sign * pair[1] > 0 and pair[0]]
    return sorted(candidates, key=lambda pair: -sign * pair[1])[:limit]
