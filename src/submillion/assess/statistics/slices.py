"""Accuracy by groups of rows: intervals, the difference from all other rows, and exact tests of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from submillion.assess.statistics.exact_tests import stratified_p
from submillion.assess.statistics.multiple_tests import holm
from submillion.assess.statistics.proportions import unpaired_interval, wilson_interval
from submillion.run_format.analysis import Slice
from submillion.run_format.interval import ALPHA, interval
from submillion.run_format.predictions import Predictions

SMALLEST = 30
"""Groups of fewer rows are shown but not tested."""
BINS = 5


@dataclass(frozen=True)
class Answers:
    """The answers to N labelled rows."""

    labels: np.ndarray
    """True class per row, int [N]."""
    right: np.ndarray
    """Whether the answer is the true class, bool [N]."""
    confidence: np.ndarray
    """Probability of the answer, float64 [N]."""

    @classmethod
    def of(cls, saved: Predictions) -> Answers:
        """Return the answers of a split's saved predictions, which must be labelled."""
        labels = saved.known_labels()
        return cls(
            labels,
            labels == saved.predicted,
            saved.probabilities.max(axis=1).astype("float64"),
        )


def compare_slices(
    groups: Mapping[str, np.ndarray], answers: Answers, smallest: int = SMALLEST
) -> list[Slice]:
    """Compare the accuracy of each group of rows with that of all other rows.

    Each group is tested twice: is it answered better or worse than the rest (Fisher's exact test), and does the
    difference remain within the classes, so that it is not due to easier or harder classes (`stratified_p`)?
    Both times, the p-values of all groups are corrected together (Holm).

    Args:
        groups: bool [N] by name; they may overlap.
        answers: the N answers.
        smallest: a group with fewer rows, or with fewer rows outside it, is not tested.
    """
    masks = [np.asarray(mask, dtype=bool) for mask in groups.values()]
    slices = [_slice(name, mask, answers, smallest) for name, mask in zip(groups, masks, strict=True)]
    plain, within = (
        _corrected(masks, p_values)
        for p_values in ([part["p"] for part in slices], [part["p_same_classes"] for part in slices])
    )
    for part, p, p_within in zip(slices, plain, within, strict=True):
        part["p_holm"], part["beyond_chance"] = p, None if p is None else p < ALPHA
        part["p_same_classes_holm"] = p_within
        part["beyond_chance_same_classes"] = None if p_within is None else p_within < ALPHA
    return slices


def quantile_groups(
    values: np.ndarray, unit: str, bins: int = BINS, share: bool = False
) -> dict[str, np.ndarray]:
    """Cut rows into groups of about equal size by a number, bool [N] by name, lowest first.

    Equal values stay together, so there may be fewer groups than requested, or none.

    Args:
        values: one number per row, [N].
        unit: what is counted, e.g. `tokens`; ends the names.
        bins: number of groups.
        share: the numbers are shares; the names give them in per cent.
    """
    if not len(values):
        return {}
    # Edges are values that occur: a group is named by its lowest and highest value.
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    number = np.searchsorted(edges, values, side="left")
    groups: dict[str, np.ndarray] = {}
    for index in np.unique(number):
        mask = number == index
        low, high = values[mask].min(), values[mask].max()
        groups[_range_name(float(low), float(high), unit, share, groups)] = mask
    return groups


def _slice(name: str, mask: np.ndarray, answers: Answers, smallest: int) -> Slice:
    right, labels = answers.right, answers.labels
    rows, correct = int(mask.sum()), int(right[mask].sum())
    rest_rows, rest_correct = len(right) - rows, int(right.sum()) - correct
    both = rows > 0 and rest_rows > 0
    difference = unpaired_interval(correct, rows, rest_correct, rest_rows) if both else interval(None)
    tested = both and min(rows, rest_rows) >= smallest
    classes = int(labels.max()) + 1 if len(labels) else 0
    sizes = np.bincount(labels, minlength=classes)
    inside = np.bincount(labels[mask], minlength=classes)
    errors = np.bincount(labels[~right], minlength=classes)
    whole = np.array([errors.sum()]), np.array([len(right)]), np.array([rows])
    mistakes = rows - correct
    return {
        "name": name,
        "rows": rows,
        "correct": correct,
        "accuracy": correct / rows if rows else None,
        "accuracy_interval": wilson_interval(correct, rows),
        "mean_confidence": math.fsum(answers.confidence[mask].tolist()) / rows if rows else None,
        "too_small": rows < smallest,
        "rest_rows": rest_rows,
        "rest_accuracy": rest_correct / rest_rows if rest_rows else None,
        "difference": difference["value"],
        "difference_interval": difference,
        "p": stratified_p(*whole, mistakes) if tested else None,
        "p_holm": None,
        "beyond_chance": None,
        "rest_accuracy_same_classes": _weighted(inside, sizes - inside, labels[~mask & right], classes),
        "p_same_classes": stratified_p(errors, sizes, inside, mistakes) if tested else None,
        "p_same_classes_holm": None,
        "beyond_chance_same_classes": None,
    }


def _corrected(masks: list[np.ndarray], p_values: list[float | None]) -> list[float | None]:
    """Return the corrected p-values; a group and its complement are one test, not two."""
    tests = {_partition(mask): p for mask, p in zip(masks, p_values, strict=True) if p is not None}
    corrected = dict(zip(tests, holm(list(tests.values())), strict=True))
    return [
        None if p is None else corrected[_partition(mask)] for mask, p in zip(masks, p_values, strict=True)
    ]


def _partition(mask: np.ndarray) -> bytes:
    """Return a key that is equal for a group and its complement."""
    return bytes((mask ^ mask[0]).tobytes()) if len(mask) else b""


def _weighted(
    inside: np.ndarray, outside: np.ndarray, right_outside: np.ndarray, classes: int
) -> float | None:
    """Return the accuracy of the rows outside, each class weighted as it is inside."""
    known = (inside > 0) & (outside > 0)
    if not known.any():
        return None
    recall = np.bincount(right_outside, minlength=classes)[known] / outside[known]
    return float(recall @ inside[known] / inside[known].sum())


def _range_name(low: float, high: float, unit: str, share: bool, taken: Mapping[str, object]) -> str:
    """Return `12 to 30 tokens`, with enough decimals to differ from the names before it."""
    for decimals in (1, 2, 4) if share else (0, 2, 4):
        scale = 100 if share else 1
        ends = [f"{scale * end:,.{decimals}f}" if end else "0" for end in (low, high)]
        name = " to ".join(dict.fromkeys(ends)) + ("% " if share else " ") + unit
        if name not in taken:
            return name
    return f"{low!r} to {high!r} {unit}"
