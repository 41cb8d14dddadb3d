"""The part "confidence": whether the probabilities are calibrated, and when the run should abstain."""

from __future__ import annotations

import numpy as np

from submillion import notices
from submillion.assess.confidence import selective, temperature
from submillion.assess.confidence.calibration import (
    RowScores,
    calibration_scores,
    reliability_diagram,
    score_changes,
    score_rows,
)
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.bootstrap import ROW_RESAMPLES
from submillion.assess.statistics.proportions import wilson_interval
from submillion.run_format.analysis_confidence import (
    AbstainTarget,
    Answered,
    CalibrationScores,
    Confidence,
    EceChange,
    ScoreChange,
    SplitConfidence,
    Temperature,
    TemperatureEffect,
)
from submillion.run_format.predictions import Predictions
from submillion.run_format.splits import SCORED_SPLITS

DEFAULT, USER = "default", "user"


def analyse(context: RunContext) -> Confidence:
    """Examine the confidences of the run's own labelled splits.

    Confidence is the probability of the answer, as saved and as `predict` writes it: no temperature is
    applied, neither here nor there. Temperature and thresholds are fitted on validation alone; validation also
    selected the checkpoint, so the results on test are the better evidence.

    The default abstention policy is the lowest reachable target above the validation accuracy, or None; a target
    set by the user (`context.answer_at`, or the one of the run's present policy) takes its place, even if it is
    not reachable.
    """
    rng = np.random.default_rng(context.seed)
    saved = context.labelled_splits()
    scores = {split: _row_scores(part) for split, part in saved.items()}
    splits = {split: _split(part, rng) for split, part in scores.items()}
    fitted = _temperature(saved, scores, splits, rng)
    targets = [_target(scores, target) for target in selective.TARGETS] if "validation" in scores else []
    return {
        "resamples": ROW_RESAMPLES,
        "splits": splits,
        "temperature": fitted,
        "rule": selective.RULE,
        "targets": targets,
        "policy": _policy(context, scores, targets),
    }


def _row_scores(saved: Predictions) -> RowScores:
    return score_rows(saved.probabilities, saved.known_labels(), saved.predicted)


def _split(scores: RowScores, rng: np.random.Generator) -> SplitConfidence:
    right = int(scores.right.sum())
    calibration = calibration_scores(scores, rng)
    return {
        "rows": scores.rows,
        "accuracy": wilson_interval(right, scores.rows),
        "mean_confidence": float(scores.confidence.mean()),
        **calibration,
        "reliability": reliability_diagram(scores),
        "aurc": selective.aurc(scores.confidence, scores.right, rng),
        "risk_coverage": selective.risk_coverage(scores.confidence, scores.right),
    }


def _temperature(
    saved: dict[str, Predictions],
    scores: dict[str, RowScores],
    splits: dict[str, SplitConfidence],
    rng: np.random.Generator,
) -> Temperature | None:
    """Return the temperature fitted on validation and its effect on test."""
    if "validation" not in saved:
        return None
    fitted = temperature.fit(saved["validation"].probabilities, saved["validation"].known_labels())
    if "test" not in saved or fitted["at_bound"]:
        return {**fitted, "test": None}
    test = saved["test"]
    scaled = temperature.scale(test.probabilities, fitted["value"] or 1.0)
    after = score_rows(scaled, test.known_labels(), test.predicted)
    scaled_scores, changes = calibration_scores(after, rng), score_changes(scores["test"], after, rng)
    before: CalibrationScores = splits["test"]
    ece: EceChange = {"before": before["ece"], "after": scaled_scores["ece"], "difference": changes["ece"]}
    brier: ScoreChange = {
        "before": before["brier"],
        "after": scaled_scores["brier"],
        "difference": changes["brier"],
    }
    nll: ScoreChange = {"before": before["nll"], "after": scaled_scores["nll"], "difference": changes["nll"]}
    effect: TemperatureEffect = {
        "rows": after.rows,
        "reliability": reliability_diagram(after),
        "ece": ece,
        "brier": brier,
        "nll": nll,
    }
    return {**fitted, "test": effect}


def _target(scores: dict[str, RowScores], target: float) -> AbstainTarget:
    """Return the threshold that reaches a target on validation, and its effect on both splits."""
    validation = scores.get("validation")
    threshold = (
        None
        if validation is None
        else selective.threshold_for(validation.confidence, validation.right, target)
    )
    effect: dict[str, Answered | None] = {
        split: None
        if threshold is None or split not in scores
        else selective.answered_above(scores[split].confidence, scores[split].right, threshold)
        for split in SCORED_SPLITS
    }
    return {
        "target_accuracy": target,
        "least_rows": selective.least_rows(target),
        "threshold": threshold,
        "validation": effect["validation"],
        "test": effect["test"],
    }


def _policy(
    context: RunContext, scores: dict[str, RowScores], targets: list[AbstainTarget]
) -> AbstainTarget | None:
    """Return the user's policy, or the default one."""
    target = context.answer_at
    if target is None:
        present = (context.run.read_analysis("confidence") or {}).get("policy") or {}
        target = present.get("target_accuracy") if present.get("chosen_by") == USER else None
    if target is None:
        accuracy = scores["validation"].right.mean() if "validation" in scores else 0.0
        for entry in targets:
            if entry["target_accuracy"] > accuracy and entry["threshold"] is not None:
                return {**entry, "chosen_by": DEFAULT}
        return None
    entry = _target(scores, target)
    if entry["threshold"] is None and context.answer_at is not None:
        least = entry["least_rows"]
        notices.emit(
            "target_not_reachable",
            f"no threshold reaches an accuracy of {target:g} on the validation rows"
            + (f"; it takes at least {least:,} of them, all answered right." if least else "."),
            target_accuracy=target,
        )
    return {**entry, "chosen_by": USER}
