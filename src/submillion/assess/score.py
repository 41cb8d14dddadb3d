"""From saved predictions to metrics.json: nothing else is read, so the file can always be computed again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from submillion.assess.confidence_summary import check_thresholds, confidence_of
from submillion.assess.metrics import metrics_of
from submillion.errors import SubmillionError
from submillion.rundir import RunDir


def assess_run(run: RunDir, thresholds: Iterable[float] = ()) -> dict[str, Any]:
    """Compute metrics.json from the saved predictions of every split, and write it.

    Args:
        thresholds: confidence thresholds beside 0.9.

    Returns:
        What was written: {split: metrics as in `score_split`}. Floats are unrounded and the order is fixed
        (validation, test, others by name), so that computing it again gives the same file.

    Raises:
        SubmillionError: a predictions file that contradicts itself.
    """
    asked = check_thresholds(thresholds)
    metrics = {split: score_split(run, split, asked) for split in run.prediction_splits()}
    run.write_json(run.metrics, metrics)
    return metrics


def score_split(run: RunDir, split: str, thresholds: Iterable[float] = ()) -> dict[str, Any]:
    """Score one split's saved predictions.

    Returns:
        `split`, what `metrics_of` gives, and `confidence`. Rows without labels give `split`, `rows` and
        `confidence` alone.

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
    scored: dict[str, Any] = {"rows": len(probabilities)}
    if saved.labels is not None:
        try:
            scored = metrics_of(saved.labels, probabilities, saved.label_names)
        except SubmillionError as error:
            raise SubmillionError(f"{where}: {error}") from error
    return {"split": split} | scored | {"confidence": confidence_of(split, probabilities, thresholds)}
