"""Correction of p-values for several tests (Holm)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from submillion.run_format.interval import ALPHA


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the same order.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
    (1979) 65-70: the k-th smallest of m is multiplied by m - k + 1, and none may be below a smaller one's.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def add_holm(entries: Sequence[Any], p: str = "p", corrected: str = "p_holm") -> int:
    """Add the corrected p-value to every entry; entries whose p-value is None were not tested and get None.

    Args:
        entries: dictionaries, one per test; all are corrected together.
        p: key of the p-value.
        corrected: key under which the corrected p-value is stored.

    Returns:
        The number of tests.
    """
    tested = [entry for entry in entries if entry[p] is not None]
    for entry in entries:
        entry[corrected] = None
    for entry, value in zip(tested, holm([entry[p] for entry in tested]), strict=True):
        entry[corrected] = value
    return len(tested)


def not_shown(p: float, comparisons: int) -> str:
    """Say that no difference is shown, and if the correction for several comparisons is the reason, say so.

    Args:
        p: p-value of this comparison alone.
        comparisons: number of comparisons that are corrected together.
    """
    several = f" after correction for {comparisons} comparisons" if p < ALPHA else ""
    return f"no difference shown{several}"
