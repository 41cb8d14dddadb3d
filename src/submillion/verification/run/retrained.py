"""Check of a training by repeating it: adapter, history, predictions and notices are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from scipy.stats import binomtest

from submillion.assess.cross_validation import repeat_folder
from submillion.errors import SubmillionError
from submillion.model.execution.int8_prefix import INT8
from submillion.run_format.predictions import Predictions
from submillion.sources.adapter_files import TENSORS
from submillion.verification.run.case import Case
from submillion.verification.run.files import FAILED_PART
from submillion.verification.run.records import missing_notices
from submillion.verification.run.retraining import Retrained, continued_elsewhere, not_repeatable
from submillion.verification.verdict import RETRAINED, Check, at_most, by, compared, failed
from submillion.wording import listed, percent, plural

MAX_CHECKS = 5  # differing values of a file that are listed one by one
TIMES = ("samples_per_s", "tokens_per_s", "seconds", "spent_before_s")  # of a history record, never equal
MEASURED = ("_seconds", "_per_second", "_mb")  # endings of measured facts of the manifest's `training`
EQUAL = "equal bit for bit"


@dataclass(frozen=True)
class Bounds:
    """Relative differences between two trainings that do the same arithmetic in another order."""

    first: float
    """Of the losses and gradient norms in the first line of the history."""
    mean: float
    """Of the mean loss over the whole history."""
    adapter: float
    """Norm of the difference of the adapters' values, as a share of the norm of the smaller adapter."""


BOUNDS = {"float32": Bounds(1e-4, 0.02, 0.05), "bfloat16": Bounds(0.02, 0.1, 0.25)}
"""By number format. Measured in float32 on a small encoder, 1,080 steps, between AVX2 and AVX-512 kernels and between
kernels and the reference execution: 5e-8 in the first line, 0.0012 between the adapters; training on the test rows as
well: 0.04 and 0.36, another weight decay: 0.001 and 0.14. Those of bfloat16 are wide and not measured."""
FLIPS_P = 1e-3
"""Probability below which two sets of answers are not from trainings of the same rows (exact McNemar test)."""


def retraining(case: Case) -> list[Check]:
    """Train the recipe again, and compare everything that the training made with the run's files.

    With the same processor, versions, execution and number of threads, both trainings are equal bit for bit. Detects:
    an adapter that was trained on other rows or settings, altered losses, learning rates and evaluations, predictions
    changed by a single bit, missing parts of the analysis and notices. Elsewhere, the bounds
    of this module hold, and the check names what differs. Cannot detect: times, memory and speed, and changes within
    the bounds on another machine. Not covered: interrupted runs, runs with `train.max_seconds`, several processes.
    """
    if not case.options.retrain:
        return [
            Check(
                "retraining", None, "the training", found="it was not repeated, because nobody asked for it"
            )
        ]
    if reason := not_repeatable(case.manifest, case.recipe):
        return [Check("retraining", None, "the training", found=f"it cannot be repeated: {reason}")]
    again = case.retrained
    checks: list[Check] = []
    for compare in (_adapter, _history, _facts, _predictions, _notices):
        try:
            checks += compare(case, again)
        except SubmillionError as error:
            checks += failed("retraining", "the training", error)
    checks = by(RETRAINED, checks)
    if again.differing:
        text = (
            f"compared within bounds, because this machine computes otherwise: {'; '.join(again.differing)}"
        )
        checks.append(Check("retraining", None, "manifest.json: machine, versions", found=text))
    return checks


def _adapter(case: Case, again: Retrained) -> list[Check]:
    """Compare the adapters' tensors."""
    where = f"adapter/{TENSORS}"
    claimed, actual = load_file(case.run.adapter / TENSORS), load_file(again.run.adapter / TENSORS)
    shapes, expected = (
        {name: list(value.shape) for name, value in side.items()} for side in (claimed, actual)
    )
    if shapes != expected:
        return compared("retraining", where, shapes, expected)
    differing = [name for name in claimed if claimed[name].tobytes() != actual[name].tobytes()]
    if not differing:
        return [Check("retraining", True, where, found=f"{plural(len(claimed), 'tensor')}, {EQUAL}")]
    largest = max(float(np.abs(claimed[name].astype(np.float64) - actual[name]).max()) for name in differing)
    text = f"{len(differing)} of {len(claimed)} tensors differ, by at most {largest:.2g}"
    if again.bit_for_bit:
        return [Check("retraining", False, where, "the tensors that this training gives", text)]
    both, distance, size = (
        np.sqrt(sum(float(np.square(value, dtype=np.float64).sum()) for value in values))
        for values in (
            [*claimed.values()],
            [claimed[name].astype(np.float64) - actual[name] for name in claimed],
            [*actual.values()],
        )
    )
    share = distance / max(min(both, size), 1e-12)
    allowed = _bounds(case).adapter
    text = f"{text}; norm of the difference {percent(share, 2)} of the adapter's, allowed {percent(allowed)}"
    return [Check("retraining", bool(share <= allowed), where, found=text)]


def _history(case: Case, again: Retrained) -> list[Check]:
    """Compare losses, gradient norms, learning rates and evaluations, line by line."""
    claimed, actual = (_without_times(run.read_history()) for run in (case.run, again.run))
    summary = f"{plural(len(actual), 'line')}: losses, gradient norms, learning rates, evaluations, {EQUAL}"
    exact = compared("retraining", "history.jsonl", claimed, actual, summary=summary)
    if again.bit_for_bit or all(check.holds for check in exact):
        return at_most(exact, MAX_CHECKS, "retraining", "history.jsonl")
    steps = [[(line["kind"], line["step"]) for line in lines] for lines in (claimed, actual)]
    if steps[0] != steps[1]:
        text = f"{len(steps[0])} lines, here {len(steps[1])}, or of other steps"
        return [Check("retraining", False, "history.jsonl", found=text)]
    losses = [[line["loss"] for line in lines if line["kind"] == "train"] for lines in (claimed, actual)]
    norms = [[line["grad_norm"] for line in lines if line["kind"] == "train"] for lines in (claimed, actual)]
    first = max(abs(one[0] / other[0] - 1) for one, other in (losses, norms)) if losses[0] else 0.0
    mean = abs(float(np.mean(losses[0])) / float(np.mean(losses[1])) - 1) if losses[0] else 0.0
    allowed = _bounds(case)
    text = (
        f"first loss and gradient norm differ by {first:.1e} (allowed {allowed.first:g}), "
        f"the mean loss by {mean:.1e} (allowed {allowed.mean:g})"
    )
    holds = first <= allowed.first and mean <= allowed.mean
    return [Check("retraining", holds, "history.jsonl", found=text)]


def _bounds(case: Case) -> Bounds:
    """Return the bounds of the number format of the training; those of bfloat16 for an unknown one.

    Products in int8 have those of bfloat16 too: a last bit before a product may change how a value is rounded. So has a
    training a part of which was in bfloat16.
    """
    training = case.manifest["training"]
    in_int8 = INT8 in (training.get("prefix_precision"), training.get("frozen_precision"))
    if in_int8 or "bfloat16" in "".join(continued_elsewhere(case.manifest)):
        return BOUNDS["bfloat16"]
    return BOUNDS.get(training["precision"], BOUNDS["bfloat16"])


def _without_times(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name not in TIMES} for record in records]


def _facts(case: Case, again: Retrained) -> list[Check]:
    """Compare the facts of the training in the manifest, but for those that are measured."""
    if not again.bit_for_bit:
        return []
    claimed, actual = (_unmeasured(manifest["training"]) for manifest in (case.manifest, again.manifest))
    where = "manifest.json: training"
    checks = compared("retraining", where, claimed, actual, summary=f"{{leaves}} facts, {EQUAL}")
    return at_most(checks, MAX_CHECKS, "retraining", where)


def _unmeasured(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if not name.endswith(MEASURED)}


def _predictions(case: Case, again: Retrained) -> list[Check]:
    """Compare the answers to the run's own splits, and those of every repeat of a cross-validation."""
    checks = []
    for repeat in range(2, case.recipe.data.repeats + 1 if case.context.cross_validated else 2):
        folder = repeat_folder(repeat)
        name = f"analysis/baselines/{folder}/validation.parquet"
        pair = [run.load_predictions("validation", baseline=folder) for run in (case.run, again.run)]
        checks += _same_answers(pair[0], pair[1], name, again)
    for split in again.run.prediction_splits():
        name = f"predictions/{split}.parquet"
        checks += _same_answers(
            case.run.load_predictions(split), again.run.load_predictions(split), name, again
        )
    return checks


def _same_answers(claimed: Predictions, actual: Predictions, name: str, again: Retrained) -> list[Check]:
    """Compare two sets of predictions of the same rows."""
    if claimed.ids != actual.ids or claimed.label_names != actual.label_names:
        return [Check("retraining", False, name, "predictions of the run's rows and classes", "other ones")]
    equal = (claimed.probabilities == actual.probabilities).all(axis=1)
    if equal.all():
        return [Check("retraining", True, name, found=f"{plural(len(equal), 'row')}, {EQUAL}")]
    if again.bit_for_bit:
        rows = np.flatnonzero(~equal).tolist()
        some = ", ".join(claimed.ids[row] for row in rows[:3]) + (", ..." if len(rows) > 3 else "")
        text = f"{len(rows):,} of {len(equal):,} rows differ (id {some})"
        return [Check("retraining", False, name, "the probabilities that this training gives", text)]
    other = int((claimed.predicted != actual.predicted).sum())
    text = f"{other:,} of {len(equal):,} rows have another class"
    if actual.labels is None:
        return [Check("retraining", None, name, found=text)]
    right, here = claimed.predicted == actual.labels, actual.predicted == actual.labels
    for_run, against = int((right & ~here).sum()), int((~right & here).sum())
    chance = binomtest(for_run, for_run + against).pvalue if for_run + against else 1.0
    text += f": {for_run} right only in the run, {against} only here (exact McNemar test, p = {chance:.2g})"
    return [Check("retraining", bool(chance >= FLIPS_P), name, found=text)]


def _notices(case: Case, again: Retrained) -> list[Check]:
    """Look for the notices of the new training among those of the run, and for parts of the analysis that failed."""
    recorded = case.manifest.get("notices", [])
    missing = missing_notices(case, again.manifest.get("notices", []), recorded)
    where = "manifest.json: notices"
    if missing and again.bit_for_bit:
        return [
            Check("retraining", False, where, "every notice of the training", f"not {text}")
            for text in missing
        ]
    failures = [notice["part"] for notice in recorded if notice["code"] == FAILED_PART]
    possible = [part for part in failures if again.run.analysis_file(part).is_file()]
    if possible:
        return [
            Check("retraining", False, where, f"{listed(possible)} failed", "no failure when trained again")
        ]
    return [Check("retraining", True, where, found="those of the training, when it is repeated")]
