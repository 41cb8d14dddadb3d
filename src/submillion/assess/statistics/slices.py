"""Accuracy by groups of rows: intervals, the difference to the other rows, and whether chance explains it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from submillion.assess.metrics import wilson, wilson_interval
from submillion.assess.statistics.paired_tests import holm
from submillion.run_format.interval import ALPHA, Interval, interval

if TYPE_CHECKING:
    import numpy as np

SMALLEST = 30  # rows; fewer are shown and not tested
BINS = 5
# Outcomes less probable are left out: products of two such are no normal numbers, with which all is many times slower.
NEVER = 1e-150


@dataclass(frozen=True)
class Answers:
    """What was answered to N labelled rows."""

    labels: np.ndarray
    """True class per row, int [N]."""
    right: np.ndarray
    """Whether the answer is the true class, bool [N]."""
    confidence: np.ndarray
    """Probability of the answer given, float64 [N]."""

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Answers:
        """Take a split's predictions as `RunDir.load_predictions` gives them; they must be labelled."""
        return cls(
            saved.labels,
            saved.labels == saved.predicted,
            saved.probabilities.max(axis=1).astype("float64"),
        )


def compare(
    groups: Mapping[str, np.ndarray], answers: Answers, smallest: int = SMALLEST
) -> list[dict[str, Any]]:
    """Compare the accuracy of each group of rows with that of all other rows.

    Two questions are asked of each. Is the group answered better or worse than the rest (Fisher's exact test)?
    And is it so within the classes, or does it only hold easier or harder classes (the exact test of several
    two by two tables)? Either way the p-values of all groups are corrected together (Holm).

    Args:
        groups: bool [N] by name; they may overlap.
        smallest: a group with fewer rows, or with fewer rows left outside it, is not tested.

    Returns:
        Per group `name`, `rows`, `correct`, `accuracy` (None without rows), `accuracy_interval` (Wilson),
        `mean_confidence`, `too_small` (fewer rows than `smallest`), `rest_rows`, `rest_accuracy`,
        `difference` (accuracy less rest_accuracy) with `difference_interval`,
        `p`, `p_holm`, `beyond_chance`, and of the comparison within classes
        `rest_accuracy_same_classes` (accuracy of the other rows weighted to the group's classes, over those
        of its rows whose class the others have), `p_same_classes`, `p_same_classes_holm` and
        `beyond_chance_same_classes`. What was not tested or cannot be computed is None.
    """
    import numpy as np

    found = [_slice(name, np.asarray(mask, dtype=bool), answers, smallest) for name, mask in groups.items()]
    masks = [np.asarray(mask, dtype=bool) for mask in groups.values()]
    for p, corrected, flag in (
        ("p", "p_holm", "beyond_chance"),
        ("p_same_classes", "p_same_classes_holm", "beyond_chance_same_classes"),
    ):
        # A group and the one that holds all other rows are one test, not two.
        tests = {
            _either_side(mask): part[p]
            for mask, part in zip(masks, found, strict=True)
            if part[p] is not None
        }
        adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
        for mask, part in zip(masks, found, strict=True):
            part[corrected] = None if part[p] is None else adjusted[_either_side(mask)]
            part[flag] = None if part[p] is None else part[corrected] < ALPHA
    return found


def quantile_groups(
    values: np.ndarray, unit: str, bins: int = BINS, share: bool = False
) -> dict[str, np.ndarray]:
    """Cut rows into groups of about equal size by a number each has, bool [N] by name, lowest first.

    Equal values stay together, so there may be fewer groups than asked for, down to none at all.

    Args:
        values: one number per row, [N].
        unit: what is counted, e.g. `tokens`; ends the names.
        share: the numbers are shares, to be named in per cent.
    """
    import numpy as np

    if not len(values):
        return {}
    # Edges are values that occur: a group is told by the lowest and highest value in it.
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    number = np.searchsorted(edges, values, side="left")
    groups: dict[str, np.ndarray] = {}
    for index in np.unique(number):
        mask = number == index
        low, high = values[mask].min(), values[mask].max()
        groups[_range_name(float(low), float(high), unit, share, groups)] = mask
    return groups


def exact_p(wrong: np.ndarray, rows: np.ndarray, in_group: np.ndarray, seen: int) -> float:
    """Return the two-sided p-value of so many mistakes in a group, given those of each stratum.

    If group and mistakes have nothing to do with each other inside a stratum, the group's mistakes there are
    hypergeometric given the margins; their sum over the strata has the convolution of these distributions. The
    p-value adds up all outcomes that are no more probable than the one seen. With one stratum this is Fisher's
    exact test; with several the exact test of a common odds ratio of 1 (A. Agresti, "A survey of exact
    inference for contingency tables", Statistical Science 7 (1992) 131-153, section 3.2).

    Args:
        wrong: mistakes per stratum, in the group and out of it, int [S].
        rows: rows per stratum, likewise.
        in_group: rows of the group per stratum.
        seen: mistakes in the group, all strata together.
    """
    import numpy as np

    density, first = np.ones(1), 0
    for errors, size, drawn in zip(wrong.tolist(), rows.tolist(), in_group.tolist(), strict=True):
        low, high = max(0, drawn + errors - size), min(errors, drawn)
        if high > 0:
            density = np.convolve(density, _hypergeometric(low, high, errors, size, drawn))
            likely = np.flatnonzero(density > NEVER)
            density, first = density[likely[0] : likely[-1] + 1], first + low + int(likely[0])
    if not 0 <= seen - first < len(density):
        return 0.0
    # The margin for rounding is scipy's: outcomes as probable as the seen one must count as such.
    return min(1.0, float(density[density <= density[seen - first] * (1 + 1e-7)].sum()))


def _hypergeometric(low: int, high: int, errors: int, size: int, drawn: int) -> np.ndarray:
    """Return the probabilities of `low` to `high`, all there are, mistakes among `drawn` of `size` rows.

    From the ratio of each to the one before: scipy's own takes seconds for some ten thousand rows.
    """
    import numpy as np

    k = np.arange(low, high)
    ratios = np.log((errors - k) * (drawn - k)) - np.log((k + 1) * (size - errors - drawn + k + 1))
    logs = np.concatenate([[0.0], np.cumsum(ratios)])
    density: np.ndarray = np.exp(logs - logs.max())
    return density / density.sum()


def unpaired_interval(right: int, rows: int, other_right: int, other_rows: int) -> Interval:
    """Return the 95 % interval of the difference of two shares, the first less the second.

    R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17 (1998) 873-890, method 10: made of the two Wilson intervals.
    """
    one, two = right / rows, other_right / other_rows
    (low, high), (other_low, other_high) = wilson(right, rows), wilson(other_right, other_rows)
    difference = one - two
    return interval(
        difference,
        difference - math.hypot(one - low, other_high - two),
        difference + math.hypot(high - one, two - other_low),
    )


def _slice(name: str, mask: np.ndarray, answers: Answers, smallest: int) -> dict[str, Any]:
    import numpy as np

    right, labels = answers.right, answers.labels
    rows, correct = int(mask.sum()), int(right[mask].sum())
    rest_rows, rest_correct = len(right) - rows, int(right.sum()) - correct
    part: dict[str, Any] = {
        "name": name,
        "rows": rows,
        "correct": correct,
        "accuracy": correct / rows if rows else None,
        "accuracy_interval": wilson_interval(correct, rows),
        "mean_confidence": math.fsum(answers.confidence[mask].tolist()) / rows if rows else None,
        "too_small": rows < smallest,
        "rest_rows": rest_rows,
        "rest_accuracy": rest_correct / rest_rows if rest_rows else None,
    }
    both = rows > 0 and rest_rows > 0
    difference = unpaired_interval(correct, rows, rest_correct, rest_rows) if both else interval(None)
    part["difference"], part["difference_interval"] = difference["value"], difference
    tested = both and min(rows, rest_rows) >= smallest
    classes = int(labels.max()) + 1 if len(labels) else 0
    sizes = np.bincount(labels, minlength=classes)
    inside = np.bincount(labels[mask], minlength=classes)
    errors = np.bincount(labels[~right], minlength=classes)
    seen = rows - correct
    whole = np.array([errors.sum()]), np.array([len(right)]), np.array([rows])
    part["p"] = exact_p(*whole, seen) if tested else None
    part["rest_accuracy_same_classes"] = _weighted(inside, sizes - inside, labels[~mask & right], classes)
    part["p_same_classes"] = exact_p(errors, sizes, inside, seen) if tested else None
    return part


def _weighted(
    inside: np.ndarray, outside: np.ndarray, right_outside: np.ndarray, classes: int
) -> float | None:
    """Return the accuracy of the rows outside, each class weighted as it is inside."""
    import numpy as np

    known = (inside > 0) & (outside > 0)
    if not known.any():
        return None
    recall = np.bincount(right_outside, minlength=classes)[known] / outside[known]
    return float(recall @ inside[known] / inside[known].sum())


def _either_side(mask: np.ndarray) -> bytes:
    return bytes((mask ^ mask[0]).tobytes()) if len(mask) else b""


def _range_name(low: float, high: float, unit: str, share: bool, taken: Mapping[str, Any]) -> str:
    """Return `12 to 30 tokens`, with as many decimals as set it apart from the names before it."""
    for decimals in (1, 2, 4) if share else (0, 2, 4):
        scale = 100 if share else 1
        ends = [f"{scale * end:,.{decimals}f}" if end else "0" for end in (low, high)]
        name = " to ".join(dict.fromkeys(ends)) + (" % " if share else " ") + unit
        if name not in taken:
            return name
    return f"{low!r} to {high!r} {unit}"
