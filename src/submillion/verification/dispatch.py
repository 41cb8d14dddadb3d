"""Verifies whatever a path names: a run, an export of one, or the claims of others."""

from __future__ import annotations

from pathlib import Path

from submillion.errors import BadInput, Problem
from submillion.verification.export.checks import is_export, verify_export
from submillion.verification.run.checks import verify
from submillion.verification.verdict import Verdict


def verify_path(
    path: str | Path,
    against: str | Path | None = None,
    rows: int | None = None,
    full: bool = False,
    seed: int | None = None,
    retrain: bool = False,
    progress: bool = False,
) -> Verdict:
    """Check a run by `verify`, or an export by `verify_export`; the arguments are theirs.

    Raises:
        BadInput: neither a run nor an export, or an argument that is meant for the other.
    """
    if not is_export(path):
        if against is not None:
            raise BadInput(Problem(str(path), "an export, to be compared with @{against}", "no export.json"))
        return verify(path, rows, full, seed, retrain, progress)
    if misplaced := _given(rows=rows is not None, full=full, seed=seed is not None, retrain=retrain):
        remedy = f"Omit {misplaced}: the files of an export classify all rows of @{{against}}."
        raise BadInput(Problem(str(path), "a run", "an export", remedy))
    return verify_export(path, against, progress)


def check_alone(
    against: str | Path | None, rows: int | None, full: bool, seed: int | None, retrain: bool
) -> None:
    """Refuse arguments of `verify_path` beside claims, which are compared with a run's metrics alone.

    Raises:
        BadInput: one of them is given.
    """
    misplaced = _given(
        against=against is not None, rows=rows is not None, full=full, seed=seed is not None, retrain=retrain
    )
    if misplaced:
        remedy = f"Omit {misplaced}, or check the run itself, without @{{claims}}."
        found = "arguments of another check"
        raise BadInput(Problem("@{claims}", "nothing but a run beside them", found, remedy))


def _given(**arguments: bool) -> str:
    """Return the names of the arguments that are given, for a message; empty if none is."""
    return " and ".join(f"@{{{name}}}" for name, is_given in arguments.items() if is_given)
