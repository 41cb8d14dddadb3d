"""Whether the adapter really makes the run's predictions: some rows are predicted again, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from submillion.errors import SubmillionError
from submillion.verification.run.case import Case
from submillion.verification.run.data import UNKNOWN
from submillion.verification.run.scores import CLOSE
from submillion.verification.verdict import Check, at_most, failed

if TYPE_CHECKING:
    import numpy as np

MOST_ROWS = 5  # differing rows of one split that are told one by one


def again(case: Case) -> list[Check]:
    """Predict a random sample of each own split with the saved adapter, or all of it, and compare.

    Finds: predictions, adapter or tokenizer that do not belong together, even where every other file was made
    to agree. Cannot find: changed rows outside the sample (k changed rows of n escape a sample of m with a
    probability of about (1 - m / n)^k), a change of a weight that moves no probability beyond the tolerance,
    and rows whose texts the run does not know.
    """
    checks: list[Check] = []
    for split in case.run.prediction_splits():
        where = f"predictions/{split}.parquet"
        if split not in case.splits:
            checks.append(Check("again", None, where, found=UNKNOWN))
        elif not (case.rows or case.full):
            checks.append(Check("again", None, where, found="no rows were asked for"))
        else:
            try:
                checks += _split_again(case, split, where)
            except SubmillionError as error:
                checks += failed("again", where, error)
    return checks


def _split_again(case: Case, split: str, where: str) -> list[Check]:
    import numpy as np

    saved, texts = case.context.predictions(split), case.context.texts(split)
    count = len(texts) if case.full else min(case.rows, len(texts))
    drawn = np.random.default_rng(case.seed).choice(len(texts), count, replace=False)
    rows = np.sort(drawn)
    found = case.context.probabilities([texts[row] for row in rows]).astype(np.float64)
    claimed = saved["probabilities"][rows].astype(np.float64)
    formats = [case.manifest["training"]["precision"], case.context.opened.precision.dtype_name]
    allowed = max(CLOSE.get(name, CLOSE["bfloat16"]) for name in formats)
    largest = np.abs(found - claimed).max(axis=1)
    # NaN is near nothing.
    differing = np.flatnonzero(~((largest <= allowed) & _same_class(claimed, found, allowed)))
    if not len(differing):
        told = f"largest difference of a probability {largest.max():.1e}, allowed {allowed:g} ({' and '.join(formats)})"
        return [
            Check("again", True, where, found=f"{count:,} of {len(texts):,} rows predicted again; {told}")
        ]
    names = saved["label_names"]
    checks = []
    for place in differing.tolist():
        column = int(np.abs(found[place] - claimed[place]).argmax())
        checks.append(
            Check(
                "again",
                False,
                f"{where}: id {saved['ids'][rows[place]]}, p_{names[column]}",
                f"{claimed[place, column]:.6f}",
                f"{found[place, column]:.6f} on this machine (allowed difference {allowed:g})",
            )
        )
    return list(at_most(checks, MOST_ROWS, "again", where))


def _same_class(claimed: np.ndarray, found: np.ndarray, allowed: float) -> np.ndarray:
    """Return per row whether both name the same class, or one that was as probable within the tolerance."""
    import numpy as np

    each = np.arange(len(claimed))
    gap = claimed.max(axis=1) - claimed[each, found.argmax(axis=1)]
    return gap <= allowed
