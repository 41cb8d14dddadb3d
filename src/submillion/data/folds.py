"""Folds of cross-validation: stratified, with all copies of a text in one fold, and the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from submillion.data.split import alike, squeezed, text_keys

NEVER = -1
"""The fold of a row that every fold's model is trained on."""


@dataclass(frozen=True)
class Folds:
    """The folds of one cross-validation over N training rows."""

    labels: Sequence[int]
    """Class of each row [N]."""
    texts: Sequence[str]
    """Text of each row [N]."""
    count: int
    """Folds of a repeat."""
    repeats: int
    seed: int

    def numbers(self, repeat: int) -> np.ndarray:
        """Return the fold that holds out each row in a repeat, counted from 1; see `fold_numbers`."""
        return fold_numbers(self.labels, self.texts, self.count, self.seed, repeat)


def fold_numbers(
    labels: Sequence[int], texts: Sequence[str], folds: int, seed: int, repeat: int = 1
) -> np.ndarray:
    """Return the fold that holds out each row, int [N], from 0 to `folds` - 1, or `NEVER`.

    A class's texts are ordered by sha256 of (seed, repeat, text), as in `stratified_split`, and dealt one by one to the
    fold that has the fewest rows of the class, then the fewest of all classes. Rows whose texts are equal but for
    white space are in one fold.

    Every model is trained on, and none predicts: the rows of a class with a single text, because a model without that
    text does not know the class; and texts with contradictory labels, because they cannot be scored.

    Args:
        labels: class of each row [N].
        texts: text of each row [N].
        folds: number of folds, at least 2.
        seed: the recipe's seed.
        repeat: number of the repetition, from 1; each deals the texts in another order.
    """
    held_out = np.full(len(labels), NEVER, dtype=np.int64)
    sizes = [0] * folds
    for copies in _texts_by_class(labels, texts, f"fold {seed} {repeat}"):
        if len(copies) < 2:
            continue
        own = [0] * folds
        for rows in copies:
            fold = min(range(folds), key=lambda number: (own[number], sizes[number]))
            held_out[rows] = fold
            own[fold] += len(rows)
            sizes[fold] += len(rows)
    return held_out


def most_folds(labels: Sequence[int], texts: Sequence[str]) -> int:
    """Return the largest number of folds that are stratified: the number of texts of the class with the most of them.

    scikit-learn's StratifiedKFold has the same limit. A smaller class is absent from some folds; texts with
    contradictory labels do not count.

    Args:
        labels: class of each row [N].
        texts: text of each row [N].
    """
    return max(map(len, _texts_by_class(labels, texts, "")), default=0)


def _texts_by_class(labels: Sequence[int], texts: Sequence[str], salt: str) -> list[list[np.ndarray]]:
    """Return the rows of each text without contradictory labels, by class in the order of the classes' numbers."""
    order, begins, ends = alike(text_keys(salt, map(squeezed, texts)))
    classes = np.asarray(labels, dtype=np.int64)
    found: dict[int, list[np.ndarray]] = {}
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        rows = order[begin:end]
        own = classes[rows]
        if (own == own[0]).all():
            found.setdefault(int(own[0]), []).append(rows)
    return [found[label] for label in sorted(found)]
