"""Whether metrics and analysis follow from the saved predictions: both are computed again, figure by figure."""

from __future__ import annotations

import json
from typing import Any

from submillion.assess import registry
from submillion.assess.confidence_summary import ALWAYS_ABOVE
from submillion.assess.score import score_split
from submillion.errors import SubmillionError
from submillion.verification.json_diff import is_number
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, compared, failed

METRICS_TOLERANCE = 1e-12  # relative; sums of the same numbers may be added up in another order
ANALYSIS_TOLERANCE = 1e-9  # relative; eigenvalues and optima depend on the machine's linear algebra
SUM_TOLERANCE = 1e-5  # how far the probabilities of a row, stored in float32, may be from adding up to 1
CLOSE = {"float32": 1e-3, "bfloat16": 0.05}
"""How far from each other two executions of one classifier may put a probability.

float32 on any machine: sums in another order change a probability by about 1e-6, so 1e-3 is ample. bfloat16
has 8 bits of precision, and errors of its rounding grow with the layers: 0.05 is a choice, wide on purpose.
"""


def probabilities(case: Case) -> list[Check]:
    """Look whether saved probabilities are probabilities, and the predicted class is the most probable one.

    Finds: a changed prediction or probability, unless the row was made to add up again.
    """
    import numpy as np

    checks = []
    for split in case.run.prediction_splits():
        saved, where = case.run.load_predictions(split), f"predictions/{split}.parquet"
        values = saved["probabilities"].astype(np.float64)
        sums = values.sum(axis=1)
        broken = ~((values >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE))
        other = values.argmax(axis=1) != saved["predicted"]
        for fault, told in ((broken, "probabilities that add up to 1"), (other, "the most probable class")):
            if rows := np.flatnonzero(fault).tolist():
                first = ", ".join(f"{saved['ids'][row]}" for row in rows[:3])
                found = (
                    f"{len(rows):,} rows where that is not so (id {first}{', ...' if len(rows) > 3 else ''})"
                )
                checks.append(Check("probabilities", False, where, f"{told} in every row", found))
        if not broken.any() and not other.any():
            checks.append(
                Check("probabilities", True, where, found=f"{len(values):,} rows, each adds up to 1")
            )
    return checks


def metrics(case: Case) -> list[Check]:
    """Compute metrics.json again from the saved predictions.

    Finds: any figure that does not follow from the predictions. Cannot find: predictions that the adapter
    does not make (`again` does).
    """
    saved = case.run.read_json(case.run.metrics)
    found: dict[str, Any] = {}
    checks: list[Check] = []
    for split in case.run.prediction_splits():
        above = saved.get(split, {}).get("confidence", {}).get("above", {})
        try:
            found[split] = score_split(case.run, split, _thresholds(above))
        except SubmillionError as error:
            checks += failed("metrics", f"predictions/{split}.parquet", error)
            saved.pop(split, None)
    said = f"{{leaves}} figures, computed again from predictions ({METRICS_TOLERANCE:g} relative)"
    return checks + compared("metrics", "metrics.json", saved, found, METRICS_TOLERANCE, said)


def _thresholds(above: dict[str, Any]) -> list[float]:
    """Return the thresholds that `evaluate` was asked for; a key that is none is left to differ."""
    found = []
    for key in above:
        try:
            threshold = float(key)
        except ValueError:
            continue
        if 0 <= threshold < 1 and repr(threshold) == key:
            found.append(threshold)
    return [threshold for threshold in found if threshold != ALWAYS_ABOVE]


def best_accuracy(case: Case) -> list[Check]:
    """Compare the accuracy of the validation predictions with that of the evaluation that chose the adapter.

    Finds: an adapter or predictions of another evaluation than the manifest names. The two were computed in
    different batches, so rows whose top two probabilities are nearly equal may be right in one and wrong in
    the other.
    """
    import numpy as np

    training = case.manifest["training"]
    claimed = training["best_accuracy"]
    where = "manifest.json: training.best_accuracy, against predictions/validation.parquet"
    if claimed is None:
        return [
            Check("history", None, where, found="the training was interrupted before its first evaluation")
        ]
    saved = case.run.load_predictions("validation")
    values = np.sort(saved["probabilities"], axis=1)
    close = CLOSE.get(training["precision"], CLOSE["bfloat16"])
    ties = int((values[:, -1] - values[:, -2] <= close).sum())
    right = int((saved["labels"] == saved["predicted"]).sum())
    rows = len(values)
    holds = is_number(claimed) and abs(claimed * rows - right) <= ties + 1e-6
    if holds:
        return [Check("history", True, where, found=f"{right:,} of {rows:,} right")]
    allowed = f"; {ties} rows are too close to call" if ties else ""
    return [Check("history", False, where, f"{claimed}", f"{right / rows} ({right:,} of {rows:,}{allowed})")]


def analysis(case: Case) -> list[Check]:
    """Make each part of the analysis again, from predictions and texts, and compare it figure by figure.

    Finds: any changed figure of a part. Cannot find: what a part itself copies when it is checked again, such
    as seconds and what only the model could tell anew (see each part's `recheck`).
    """
    checks: list[Check] = []
    for file in sorted(case.run.analysis.glob("*.json")):
        where = f"analysis/{file.name}"
        if file.stem not in registry.PARTS:
            checks.append(
                Check("analysis", None, where, found="no part of an analysis that this version makes")
            )
            continue
        try:
            saved = case.run.read_json(file)
            found = json.loads(json.dumps(registry.recomputed(case.context, file.stem)))
        except SubmillionError as error:
            checks += failed("analysis", where, error)
            continue
        saved.pop(registry.COST, None)
        said = f"{{leaves}} figures, computed again ({ANALYSIS_TOLERANCE:g} relative)"
        checks += compared("analysis", where, saved, found, ANALYSIS_TOLERANCE, said)
    return checks or [Check("analysis", None, "analysis/", found="none was made")]
