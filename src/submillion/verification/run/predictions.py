"""Check that the adapter makes the run's predictions: rows are re-predicted on this machine."""

from __future__ import annotations

import numpy as np

from submillion.errors import SubmillionError
from submillion.verification.run.case import Case
from submillion.verification.run.data import UNKNOWN
from submillion.verification.run.scores import probability_tolerance
from submillion.verification.verdict import Check, at_most, failed

MAX_ROWS = 5  # differing rows of a split that are listed one by one


def predictions(case: Case) -> list[Check]:
    """Re-predict a random sample of each of the run's own splits, or all rows, with the saved adapter and compare.

    Detects: predictions, adapter or tokenizer that do not belong together, even if every other file was made
    consistent with them. Cannot detect: changed rows outside the sample (k changed rows of n escape a sample of m
    with a probability of about (1 - m / n)^k), a changed weight that moves no probability beyond the tolerance,
    and rows whose texts the run does not know.
    """
    checks: list[Check] = []
    for split in case.run.prediction_splits():
        where = f"predictions/{split}.parquet"
        if split not in case.splits:
            checks.append(Check("predictions", None, where, found=UNKNOWN))
        elif not (case.rows or case.full):
            checks.append(Check("predictions", None, where, found="no rows were requested"))
        else:
            try:
                checks += _re_predicted(case, split, where)
            except SubmillionError as error:
                checks += failed("predictions", where, error)
    return checks


def _re_predicted(case: Case, split: str, where: str) -> list[Check]:
    saved, texts = case.context.predictions(split), case.context.texts(split)
    count = len(texts) if case.full else min(case.rows, len(texts))
    rows = np.sort(np.random.default_rng(case.seed).choice(len(texts), count, replace=False))
    actual = case.context.probabilities([texts[row] for row in rows]).astype(np.float64)
    claimed = saved.probabilities[rows].astype(np.float64)
    formats = [case.manifest["training"]["precision"], case.context.opened.execution.precision.dtype_name]
    allowed = max(probability_tolerance(name) for name in formats)
    largest = np.abs(actual - claimed).max(axis=1)
    # Written with `~`, so that NaN differs.
    differing = np.flatnonzero(~((largest <= allowed) & _same_class(claimed, actual, allowed)))
    if not len(differing):
        detail = f"largest difference of a probability {largest.max():.1e}, allowed {allowed:g}"
        text = f"{count:,} of {len(texts):,} rows re-predicted; {detail} ({' and '.join(formats)})"
        return [Check("predictions", True, where, found=text)]
    names = saved.label_names
    checks = []
    for place in differing.tolist():
        column = int(np.abs(actual[place] - claimed[place]).argmax())
        checks.append(
            Check(
                "predictions",
                False,
                f"{where}: id {saved.ids[rows[place]]}, p_{names[column]}",
                f"{claimed[place, column]:.6f}",
                f"{actual[place, column]:.6f} on this machine (allowed difference {allowed:g})",
            )
        )
    return at_most(checks, MAX_ROWS, "predictions", where)


def _same_class(claimed: np.ndarray, actual: np.ndarray, allowed: float) -> np.ndarray:
    """Return per row whether both predict the same class, or classes equally probable within the tolerance."""
    gap: np.ndarray = claimed.max(axis=1) - claimed[np.arange(len(claimed)), actual.argmax(axis=1)]
    return gap <= allowed
