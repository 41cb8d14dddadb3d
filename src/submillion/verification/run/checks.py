"""Recomputes everything that a run claims, and says of each claim whether it holds."""

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

LOOK: tuple[tuple[str, str, Callable[[Case], list[Check]]], ...] = (
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
    ("again", "predictions/", predictions.again),
)
# What a changed file of a run can make of a check: an entry that is gone, a text where a number was, a file
# that its reader refuses. It is told as a claim that does not hold.
BROKEN = (
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
    """Recompute what a run claims from its predictions, data and adapter; nothing in the run is changed.

    Args:
        path: a run whose training is over.
        rows: rows of each own split to predict again; 0 leaves that out.
        full: predict every row again.
        seed: from which those rows are drawn; None draws one that nobody could know beforehand.
        progress: show bars on standard error.

    Returns:
        The checks; each function of LOOK says what it finds and what it cannot find.

    Raises:
        BadInput: no run, or one that is still being trained.
    """
    run = RunDir.open(path)
    if run.read_manifest().get("status") == "running":
        raise BadInput(
            Problem(
                str(path),
                "a run whose training is over",
                "one that is running, or that was killed",
                "Finish it with `submillion resume`.",
            )
        )
    drawn = secrets.randbelow(2**32) if seed is None else seed
    case = Case(run, rows, full, drawn, progress)
    checks: list[Check] = []
    for name, where, look in LOOK:
        try:
            checks += look(case)
        except BROKEN as error:
            checks += failed(name, where, error)
    return Verdict(str(path), checks, drawn if rows or full else None)
