"""The list of checks of a run, and `verify`, which runs them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from submillion.errors import BadInput, Problem, SubmillionError
from submillion.rundir import RunDir
from submillion.verification.run import (
    budget,
    data,
    files,
    predictions,
    report_pages,
    scores,
    settings,
    training,
)
from submillion.verification.run.case import Case
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
    ("history", "history.jsonl", training.history),
    ("schedule", "history.jsonl", training.schedule),
    ("checkpoint", "checkpoint/", training.checkpoint),
    ("probabilities", "predictions/", scores.probabilities),
    ("metrics", "metrics.json", scores.metrics),
    ("history", "manifest.json: training.best_accuracy", scores.best_accuracy),
    ("analysis", "analysis/", scores.analysis),
    ("pages", "card, page and figures", report_pages.pages),
    ("predictions", "predictions/", predictions.predictions),
)
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
    path: str | Path, rows: int = 200, full: bool = False, seed: int | None = None, progress: bool = False
) -> Verdict:
    """Recompute everything that a run claims from its predictions, data and adapter; the run is not changed.

    Args:
        path: a run whose training has ended.
        rows: rows of each of the run's own splits to re-predict; 0 re-predicts none.
        full: re-predict every row.
        seed: seed of the re-predicted rows; None draws one that nobody could know in advance.
        progress: show progress bars on standard error.

    Returns:
        All checks. The docstring of each function in CHECKS says what it detects and what it cannot detect.

    Raises:
        BadInput: there is no run at `path`, or its training has not ended.
    """
    run = RunDir.open(path)
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
    case = Case(run, rows, full, seed, progress)
    checks: list[Check] = []
    for name, where, check in CHECKS:
        try:
            checks += check(case)
        except TAMPERING_ERRORS as error:
            checks += failed(name, where, error)
    return Verdict(str(path), checks, seed if rows or full else None)
