"""The part "confidence": whether probabilities mean what they say, and when the run should not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from submillion import notices
from submillion.assess.confidence import selective, temperature
from submillion.assess.confidence.calibration import SCORES, Rated, change, diagram, rate, scores
from submillion.assess.metrics import wilson_interval
from submillion.assess.statistics.bootstrap import ROW_RESAMPLES
from submillion.assess.statistics.paired_tests import labelled_splits

if TYPE_CHECKING:
    import numpy as np

    from submillion.assess.run_context import RunContext

DEFAULT, USER = "default", "user"


def analyse(context: RunContext) -> dict[str, Any]:
    """Examine the confidences of the run's own labelled splits.

    Confidence is the probability of the answer, as saved and as `predict` writes it: no temperature is
    applied to it, neither here nor there. What is fitted is fitted on validation alone; validation also chose
    the epoch, so what holds on test is the better evidence.

    Returns:
        `resamples`;
        `splits`: {split: {`rows`, `accuracy` (an interval), `mean_confidence`, `ece`, `brier`, `nll`
        (see `reliability.scores`), `reliability` (the diagram's bins, see `reliability.diagram`), `aurc` (see
        `abstain.aurc`), `risk_coverage` (see `abstain.risk_coverage`)}};
        `temperature`: see `temperature.fit`, and `test`: what it does there, None without a test split or
        where none could be told (`at_bound`):
        {`rows`, `reliability` (the diagram after), `ece`, `brier`, `nll`: {`before`, `after` (each as
        in `splits`), `difference` (an interval)}}. None without a validation split;
        `rule`: a sentence, how thresholds are chosen;
        `targets`: for each accuracy of the table {`target_accuracy`, `least_rows` (validation rows that must be
        answered without a mistake before it can be reached), `threshold`, `validation`, `test`}; the last two as
        in `abstain.answered`; all three None where it is not reachable, `test` also without a test split.
        An empty list without a validation split;
        `policy`: an entry like those of `targets` and `chosen_by`. By "default" it is the lowest target above
        the validation accuracy that is reachable, and None where there is none; by "user" it is the accuracy
        asked for (`context.answer_at`, or what the run's present policy asked for), its `threshold` None where
        it is not reachable. Rows whose confidence is below `threshold` are not to be answered.
    """
    import numpy as np

    rng = np.random.default_rng(context.seed)
    saved = labelled_splits(context)
    rated = {
        split: rate(found.probabilities, found.labels, found.predicted) for split, found in saved.items()
    }
    splits = {split: _split(found, rng) for split, found in rated.items()}
    heat = _temperature(saved, rated, splits, rng)
    targets = [_target(rated, target) for target in selective.TARGETS] if "validation" in rated else []
    return {
        "resamples": ROW_RESAMPLES,
        "splits": splits,
        "temperature": heat,
        "rule": selective.RULE,
        "targets": targets,
        "policy": _policy(context, rated, targets),
    }


def _split(rated: Rated, rng: np.random.Generator) -> dict[str, Any]:
    right = int(rated.right.sum())
    return {
        "rows": rated.rows,
        "accuracy": wilson_interval(right, rated.rows),
        "mean_confidence": float(rated.confidence.mean()),
        **scores(rated, rng),
        "reliability": diagram(rated),
        "aurc": selective.aurc(rated.confidence, rated.right, rng),
        "risk_coverage": selective.risk_coverage(rated.confidence, rated.right),
    }


def _temperature(
    saved: dict[str, dict[str, Any]],
    rated: dict[str, Rated],
    splits: dict[str, dict[str, Any]],
    rng: np.random.Generator,
) -> dict[str, Any] | None:
    """Return the temperature fitted on validation and what it does on test, as `analyse` documents it."""
    if "validation" not in saved:
        return None
    fitted = temperature.fit(saved["validation"].probabilities, saved["validation"].labels)
    if "test" not in saved or fitted["at_bound"]:
        return fitted | {"test": None}
    test = saved["test"]
    scaled = temperature.scale(test.probabilities, fitted["value"])
    after = rate(scaled, test.labels, test.predicted)
    scored, differences = scores(after, rng), change(rated["test"], after, rng)
    effect = {
        name: {"before": splits["test"][name], "after": scored[name], "difference": differences[name]}
        for name in SCORES
    }
    return fitted | {"test": {"rows": after.rows, "reliability": diagram(after)} | effect}


def _target(rated: dict[str, Rated], target: float) -> dict[str, Any]:
    """Return one entry of the table of targets: its threshold from validation, and what it gives."""
    validation = rated.get("validation")
    threshold = (
        None if validation is None else selective.reach(validation.confidence, validation.right, target)
    )
    given = {
        split: None
        if threshold is None or split not in rated
        else selective.answered(rated[split].confidence, rated[split].right, threshold)
        for split in ("validation", "test")
    }
    return {
        "target_accuracy": target,
        "least_rows": selective.least_rows(target),
        "threshold": threshold,
    } | given


def _policy(
    context: RunContext, rated: dict[str, Rated], targets: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the policy: the user's target if there is one, else the lowest that is worth abstaining for."""
    asked = context.answer_at
    if asked is None:
        present = (context.run.read_analysis("confidence") or {}).get("policy") or {}
        asked = present.get("target_accuracy") if present.get("chosen_by") == USER else None
    if asked is None:
        known = rated["validation"].right.mean() if "validation" in rated else 0.0
        for entry in targets:
            if entry["target_accuracy"] > known and entry["threshold"] is not None:
                return entry | {"chosen_by": DEFAULT}
        return None
    entry = _target(rated, asked)
    if entry["threshold"] is None and context.answer_at is not None:
        least = entry["least_rows"]
        notices.emit(
            "target_not_reachable",
            f"no threshold gives answers of accuracy {asked:g} on the validation rows"
            + (f"; it takes at least {least:,} of them, answered without a mistake." if least else "."),
            target_accuracy=asked,
        )
    return entry | {"chosen_by": USER}
