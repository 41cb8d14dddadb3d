"""What the page shows, taken from a run's facts: heat of the confusion, bins, evaluations, marked words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from submillion.report.curves import BIN

HEAT_STEPS = 10  # classes h0 to h9 of page.css
MOST_IN_HEAT = 40  # with more classes the table would be larger than any screen; the figure shows them
MOST_LOGGED = 60  # rows of the table of logged losses
LEAST_MARKED = 0.2  # of the greatest weight in a text: smaller ones are left unmarked
STRONG = 0.5  # of the greatest weight
NAMED = 6  # words that are named for and against an answer


@dataclass(frozen=True)
class HeatCell:
    """One cell of the confusion: its rows, their share of the true class, and its step of colour."""

    count: int
    share: float | None
    step: int
    hit: bool


@dataclass(frozen=True)
class Word:
    """One word of an explained text: `kind` is `for`, `against` or empty."""

    text: str
    kind: str = ""
    strong: bool = False


def heat(confusion: Sequence[Sequence[int]]) -> list[list[HeatCell]]:
    """Return the cells of the confusion, coloured by the root of their share of the true class.

    By the root, so that a hundredth of a class still shows where it went.
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


def confused(
    confusion: Sequence[Sequence[int]], names: Sequence[str], most: int = 100
) -> list[dict[str, Any]]:
    """Return the non-empty cells off the diagonal, the fullest first: `true`, `predicted`, `rows`, `share`."""
    pairs: list[dict[str, Any]] = [
        {"true": names[row], "predicted": names[column], "rows": count, "share": count / sum(counts)}
        for row, counts in enumerate(confusion)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    return sorted(pairs, key=lambda pair: -pair["rows"])[:most]


def confidence_bins(saved: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the non-empty bins of the confidence figure: `low`, `high`, `rows`, and `right` and `wrong`.

    Args:
        saved: a split's predictions as `RunDir.load_predictions` gives them; unlabelled ones have None for
            `right` and `wrong`.
    """
    import numpy as np

    top = saved["probabilities"].max(axis=1)
    edges = np.linspace(0, 1, round(1 / BIN) + 1)
    counts = np.histogram(top, edges)[0]
    right = None
    if saved["labels"] is not None:
        right = np.histogram(top[saved["labels"] == saved["predicted"]], edges)[0]
    return [
        {
            "low": float(edges[index]),
            "high": float(edges[index + 1]),
            "rows": int(counts[index]),
            "right": None if right is None else int(right[index]),
            "wrong": None if right is None else int(counts[index] - right[index]),
        }
        for index in np.flatnonzero(counts)
    ]


def thinned(records: Sequence[Any], most: int = MOST_LOGGED) -> list[Any]:
    """Return at most `most` of the records, evenly spread, the first and the last among them."""
    if len(records) <= most:
        return list(records)
    return [records[round(index * (len(records) - 1) / (most - 1))] for index in range(most)]


def marked(words: Iterable[Sequence[Any]]) -> list[Word]:
    """Return an explained text in pieces: its words of weight with their marks, and what lies between them.

    Args:
        words: [word, weight] in the order of the text; joined they are the text, and so are the pieces.
    """
    pairs = [(str(word), float(weight)) for word, weight in words]
    greatest = max((abs(weight) for _, weight in pairs), default=0.0)
    found: list[Word] = []
    between = ""
    for text, weight in pairs:
        share = abs(weight) / greatest if greatest else 0.0
        bare = text.strip()
        if share < LEAST_MARKED or not bare:
            between += text
            continue
        before, _, after = text.partition(bare)
        if between + before:
            found.append(Word(between + before))
        found.append(Word(bare, "for" if weight > 0 else "against", share >= STRONG))
        between = after
    return [*found, Word(between)] if between else found


def beyond_chance(kinds: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the slices whose accuracy differs from the other rows' beyond chance, each with its kind's `title`."""
    return [
        part | {"title": kind["title"]}
        for kind in kinds
        for part in kind["slices"]
        if part["beyond_chance"] or part["beyond_chance_same_classes"]
    ]


def heaviest(words: Iterable[Sequence[Any]], sign: int, most: int = NAMED) -> list[tuple[str, float]]:
    """Return the words that weigh most for (`sign` 1) or against (-1) an answer, heaviest first."""
    pairs = [(str(word).strip(), float(weight)) for word, weight in words]
    ours = [pair for pair in pairs if sign * pair[1] > 0 and pair[0]]
    return sorted(ours, key=lambda pair: -sign * pair[1])[:most]
