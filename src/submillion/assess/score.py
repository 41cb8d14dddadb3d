"""Computes metrics.json from the saved predictions alone, so that the file can always be recomputed."""

from __future__ import annotations

from collections.abc import Iterable

from submillion.assess.confidence_summary import check_thresholds, confidence_of
from submillion.assess.metrics import metrics_of
from submillion.errors import SubmillionError
from submillion.run_format.metrics import Metrics, SplitMetrics
from submillion.rundir import RunDir


def assess_run(run: RunDir, thresholds: Iterable[float] = ()) -> Metrics:
    """Compute metrics.json from the saved predictions of every split, and write it.

    Floats are not rounded and the order is fixed (validation, test, others by name), so that recomputing it gives
    the same file.

    Args:
        run: a run with saved predictions.
        thresholds: confidence thresholds in addition to 0.9.

    Returns:
        The metrics by split.

    Raises:
        SubmillionError: a predictions file that contradicts itself.
    """
    checked = check_thresholds(thresholds)
    metrics = {split: score_split(run, split, checked) for split in run.prediction_splits()}
    run.write_json(run.metrics, metrics)
    return metrics


def score_split(run: RunDir, split: str, thresholds: Iterable[float] = ()) -> SplitMetrics:
    """Score one split's saved predictions.

    Args:
        run: a run with saved predictions.
        split: name of the split.
        thresholds: confidence thresholds in addition to 0.9.

    Raises:
        SubmillionError: the predictions file contradicts itself.
    """
    saved = run.load_predictions(split)
    probabilities = saved.probabilities
    where = run.prediction_file(split)
    differing = int((probabilities.argmax(axis=1) != saved.predicted).sum()) if len(probabilities) else 0
    if differing:
        raise SubmillionError(
            f"{where}: expected each predicted class to be the most probable one, found {differing} rows "
            "where it is not. The file was changed after the run."
        )
    if saved.labels is None:
        return {
            "split": split,
            "rows": len(probabilities),
            "confidence": confidence_of(split, probabilities, thresholds),
        }
    try:
        scores = metrics_of(saved.labels, probabilities, saved.label_names)
    except SubmillionError as error:
        raise SubmillionError(f"{where}: {error}") from error
    return {"split": split, **scores, "confidence": confidence_of(split, probabilities, thresholds)}
