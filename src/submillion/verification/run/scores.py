"""Checks of metrics and analysis: both are recomputed from the saved predictions, figure by figure."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from submillion.assess import prefix_int8, registry
from submillion.assess.confidence_summary import ALWAYS_ABOVE
from submillion.assess.score import score_split
from submillion.errors import SubmillionError
from submillion.model.execution.int8_prefix import INT8
from submillion.verification.json_diff import is_number
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, at_most, compared, failed

MAX_FIGURES = 8  # differing figures of a file that are listed one by one
METRICS_TOLERANCE = 1e-12  # relative; sums of the same numbers may be computed in another order
ANALYSIS_TOLERANCE = 1e-9  # relative; eigenvalues and optima depend on the machine's linear algebra
SUM_TOLERANCE = 1e-5  # absolute, between 1 and the sum of a row's probabilities, which are stored in float32
PROBABILITY_TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05}
"""Largest difference of a probability between two executions of one classifier, by number format.

In float32, sums in another order change a probability by less than 1e-6 (measured between AVX2 and AVX-512 kernels,
MiniLM), so 1e-4 is ample on any machine. bfloat16 has 8 bits of precision, and its rounding errors grow with the
layers; 0.05 is wide on purpose.
"""


def probability_tolerance(precision: str) -> float:
    """Return the tolerance between probabilities of a number format; of bfloat16 for an unknown one."""
    return PROBABILITY_TOLERANCES.get(precision, PROBABILITY_TOLERANCES["bfloat16"])


def probabilities(case: Case) -> list[Check]:
    """Check that each row's probabilities add up to 1 and that the predicted class is the most probable one.

    Detects: a changed prediction or probability, unless the row was changed consistently.
    """
    checks = []
    for split in case.run.prediction_splits():
        saved, where = case.run.load_predictions(split), f"predictions/{split}.parquet"
        values = saved.probabilities.astype(np.float64)
        sums = values.sum(axis=1)
        invalid = ~((values >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE))
        not_top = values.argmax(axis=1) != saved.predicted
        for wrong, claim in (
            (invalid, "probabilities that add up to 1 in every row"),
            (not_top, "the most probable class predicted in every row"),
        ):
            if rows := np.flatnonzero(wrong).tolist():
                first = ", ".join(saved.ids[row] for row in rows[:3]) + (", ..." if len(rows) > 3 else "")
                checks.append(
                    Check("probabilities", False, where, claim, f"{len(rows):,} exceptions (id {first})")
                )
        if not invalid.any() and not not_top.any():
            text = f"{len(values):,} rows, each adds up to 1"
            checks.append(Check("probabilities", True, where, found=text))
    return checks


def metrics(case: Case) -> list[Check]:
    """Recompute metrics.json from the saved predictions.

    Detects: any figure that does not follow from the predictions. Cannot detect: predictions that the adapter
    does not make; `predictions` does.
    """
    saved: dict[str, Any] = dict(case.run.read_metrics())
    if not saved and not case.run.prediction_splits():
        return [Check("metrics", None, "metrics.json", found="no split is scored")]
    actual: dict[str, Any] = {}
    checks: list[Check] = []
    for split in case.run.prediction_splits():
        above = saved.get(split, {}).get("confidence", {}).get("above", {})
        try:
            actual[split] = score_split(case.run, split, _thresholds(above))
        except SubmillionError as error:
            checks += failed("metrics", f"predictions/{split}.parquet", error)
            saved.pop(split, None)
    summary = f"{{leaves}} figures, recomputed from predictions (relative tolerance {METRICS_TOLERANCE:g})"
    checks += compared("metrics", "metrics.json", saved, actual, METRICS_TOLERANCE, summary)
    return at_most(checks, MAX_FIGURES, "metrics", "metrics.json")


def _thresholds(above: dict[str, Any]) -> list[float]:
    """Return the thresholds that `evaluate` was called with; keys that are not thresholds will differ."""
    thresholds = []
    for key in above:
        try:
            threshold = float(key)
        except ValueError:
            continue
        if 0 <= threshold < 1 and repr(threshold) == key:
            thresholds.append(threshold)
    return [threshold for threshold in thresholds if threshold != ALWAYS_ABOVE]


def best_accuracy(case: Case) -> list[Check]:
    """Compare the accuracy of the validation predictions with that of the evaluation that selected the adapter.

    Detects: predictions of another evaluation than the one in the manifest. The two may have been computed in
    different batches, so rows whose top two probabilities are nearly equal are allowed to differ. Where the training
    cached lower layers in int8, the predictions are those of the part "prefix_int8".
    """
    training = case.manifest["training"]
    claimed = training["best_accuracy"]
    where = "manifest.json: training.best_accuracy, against predictions of the validation rows"
    if claimed is None:
        text = "the training was interrupted before its first evaluation"
        if case.context.cross_validated:
            text = "all rows are trained on, so no evaluation has selected the adapter"
        return [Check("history", None, where, found=text)]
    rounded = training.get("prefix_precision") == INT8
    if rounded and not case.run.analysis_file(prefix_int8.PART).is_file():
        text = (
            f"it rests on lower layers in int8; `report` with the part {prefix_int8.PART} answers with them"
        )
        return [Check("history", None, where, found=text)]
    saved = case.run.load_predictions("validation", prefix_int8.FOLDER if rounded else None)
    values = np.sort(saved.probabilities, axis=1)
    ties = int((values[:, -1] - values[:, -2] <= probability_tolerance(training["precision"])).sum())
    correct = 0 if saved.labels is None else int((saved.labels == saved.predicted).sum())
    rows = len(values)
    holds = is_number(claimed) and abs(claimed * rows - correct) <= ties + 1e-6
    if holds:
        return [Check("history", True, where, found=f"{correct:,} of {rows:,} correct")]
    allowed = f"; {ties} rows are too close to call" if ties else ""
    text = f"{correct / rows} ({correct:,} of {rows:,}{allowed})"
    return [Check("history", False, where, f"{claimed}", text)]


def analysis(case: Case) -> list[Check]:
    """Recompute each part of the analysis from predictions and texts, and compare every figure.

    Detects: any changed figure of a part. Cannot detect: figures that a part copies from its file when it is
    recomputed, such as seconds and figures that need the model (see each part's `recheck`).
    """
    checks: list[Check] = []
    for file in sorted(case.run.analysis.glob("*.json")):
        where = f"analysis/{file.name}"
        if file.stem not in registry.PARTS:
            text = "this version has no analysis of this name"
            checks.append(Check("analysis", None, where, found=text))
            continue
        try:
            saved = case.run.read_json(file)
            actual = json.loads(json.dumps(registry.recompute_part(case.context, file.stem)))
        except SubmillionError as error:
            checks += failed("analysis", where, error)
            continue
        saved.pop(registry.COST, None)
        summary = f"{{leaves}} figures, recomputed (relative tolerance {ANALYSIS_TOLERANCE:g})"
        compared_part = compared("analysis", where, saved, actual, ANALYSIS_TOLERANCE, summary)
        checks += at_most(compared_part, MAX_FIGURES, "analysis", where)
    return checks or [Check("analysis", None, "analysis/", found="there is no analysis")]
