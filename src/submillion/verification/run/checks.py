"""The list of checks of a run, and `verify`, which runs them."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from submillion.arguments import check_counts
from submillion.errors import BadInput, Problem, SubmillionError
from submillion.rundir import RunDir
from submillion.sources import store
from submillion.verification.run import (
    adopted,
    baselines,
    budget,
    data,
    files,
    int8,
    predictions,
    records,
    report_pages,
    retrained,
    scores,
    settings,
    training,
)
from submillion.verification.run.case import Case, Options
from submillion.verification.verdict import Check, Verdict, failed

CHECKS: tuple[tuple[str, str, Callable[[Case], list[Check]]], ...] = (  # name, place, function
    ("layout", "the run", files.layout),
    ("hashes", "manifest.json: files", files.hashes),
    ("recipe", "recipe.yaml", settings.recipe),
    ("encoder", "manifest.json: encoder", files.encoder),
    ("adapter", "adapter/", settings.adapter),
    ("budget", "manifest.json: budget", budget.budget),
    ("data", "manifest.json: data", data.data),
    ("tokens", "manifest.json: data.tokens", data.tokens),
    ("rows", "predictions/", data.predicted_rows),
    ("notices", "manifest.json: notices", records.notices),
    ("history", "history.jsonl", training.history),
    ("schedule", "history.jsonl", training.schedule),
    ("checkpoint", "checkpoint/", training.checkpoint),
    ("probabilities", "predictions/", scores.probabilities),
    ("metrics", "metrics.json", scores.metrics),
    ("history", "manifest.json: training.best_accuracy", scores.best_accuracy),
    ("analysis", "analysis/", scores.analysis),
    ("baselines", "analysis/baselines/", baselines.baselines),
    ("pages", "card, page and figures", report_pages.pages),
    ("predictions", "predictions/", predictions.predictions),
    ("int8", "analysis/int8.json", int8.int8),
    ("int8", "analysis/prefix_int8.json", int8.prefix),
    ("retraining", "the training", retrained.retraining),
    ("statements", "the run", records.statements),
)
CHECKS_OF_ADOPTED: tuple[tuple[str, str, Callable[[Case], list[Check]]], ...] = (
    ("layout", "the run", adopted.layout),
    ("hashes", "manifest.json: files", files.hashes),
    ("encoder", "manifest.json: encoder", files.encoder),
    ("adapter", "adapter/", adopted.adapter),
    ("budget", "manifest.json: budget", adopted.budget),
    ("rows", "predictions/", data.predicted_rows),
    ("probabilities", "predictions/", scores.probabilities),
    ("metrics", "metrics.json", scores.metrics),
    ("analysis", "analysis/", scores.analysis),
    ("pages", "card, page and figures", report_pages.pages),
    ("predictions", "predictions/", predictions.predictions),
    ("statements", "the run", adopted.statements),
)
"""The checks of a run whose training is unknown."""
# Errors that a changed file can cause in a check: a missing entry, a text instead of a number, a file that its
# reader refuses. They are reported as claims that do not hold.
TAMPERING_ERRORS = (
    SubmillionError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)


def verify(
    path: str | Path,
    rows: int | None = None,
    full: bool = False,
    seed: int | None = None,
    retrain: bool = False,
    progress: bool = False,
) -> Verdict:
    """Check everything that a run claims against its predictions, data and adapter; the run is not changed.

    Args:
        path: a run whose training has ended.
        rows: rows of each split to predict again; 0 predicts none. None predicts all rows if that takes a minute or
            less on this machine, else 200 of each split.
        full: predict every row again.
        seed: seed of the rows that are drawn; None draws one that nobody could know in advance.
        retrain: train the recipe again, in a temporary directory, and compare.
        progress: show progress bars on standard error.

    Returns:
        All checks, each with its strength. The docstring of each function in CHECKS says what it detects and what it
        cannot detect.

    Raises:
        BadInput: there is no run at `path`, its training has not ended, another process is writing it, or `rows` or
            `seed` is no whole number from 0 on.
    """
    given = {name: number for name, number in (("rows", rows), ("seed", seed)) if number is not None}
    check_counts(given, least=0)  # a check that met another value would fail
    run = RunDir.open(path)
    if run.is_locked():
        raise BadInput(
            Problem(
                str(path),
                "a run that no process is writing",
                "one that another process is working on",
                "Wait for its end.",
            )
        )
    if run.read_manifest().get("status") == "running":
        raise BadInput(
            Problem(
                str(path),
                "a run whose training has ended",
                "one that is still training or was killed",
                "Finish it with `resume`.",
            )
        )
    seed = secrets.randbelow(2**32) if seed is None else seed
    checks: list[Check] = []
    with tempfile.TemporaryDirectory(prefix="submillion-verify-") as scratch, store.hashed_in_full():
        case = Case(run, Path(scratch), Options(rows, full, retrain, seed, progress))
        for name, where, check in CHECKS_OF_ADOPTED if run.is_adopted else CHECKS:
            try:
                checks += check(case)
            except TAMPERING_ERRORS as error:
                checks += failed(name, where, error)
    return Verdict(str(path), checks, None if full or rows == 0 else seed)
