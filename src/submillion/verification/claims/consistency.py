"""Checks that published claims agree with each other and with a run; `verify_claims`."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

from submillion import recipe_file
from submillion.errors import BadInput, Problem
from submillion.rundir import RunDir
from submillion.verification.claims import arithmetic
from submillion.verification.claims.claims_file import Source, read_claims
from submillion.verification.claims.rounding import Range
from submillion.verification.json_diff import is_number, shown
from submillion.verification.verdict import Check, Verdict


def verify_claims(name_or_path: str | Path, run: str | Path | None = None) -> Verdict:
    """Check that claims are arithmetically possible, agree with each other, and agree with a run.

    Args:
        name_or_path: a file of claims, or the name of published claims that ship with submillion (see `read_claims`).
        run: a run directory to compare the claims with; `verify` checks the run's own figures.

    Returns:
        One check per comparison.

    Raises:
        BadInput: there is no such file or run, or the file does not have the form of claims.
    """
    sources = read_claims(name_or_path)
    checks = [check for source in sources for check in arithmetic.check_arithmetic(source)]
    for one, other in combinations(sources, 2):
        checks += _between(one, other)
    if run is not None:
        opened = RunDir.open(run)
        if not opened.metrics.is_file():
            raise BadInput(Problem(str(opened.metrics), "the metrics of a finished run", "no such file"))
        for source in sources:
            checks += _against_run(source, opened)
    return Verdict(str(name_or_path), checks)


def _between(one: Source, other: Source) -> list[Check]:
    """Check that two texts agree on everything that both of them state."""
    name = f"{one.name} and {other.name}"
    checks = []
    for path, claimed in one.figures.items():
        if path in other.figures:
            theirs = other.figures[path]
            holds = claimed.range.overlaps(theirs.range)
            checks.append(_agreement(name, ".".join(path), claimed.written, theirs.written, holds))
    for field, value in one.settings.items():
        if field in other.settings:
            their_value = other.settings[field]
            checks.append(_agreement(name, field, shown(value), shown(their_value), value == their_value))
    return checks


def _agreement(name: str, where: str, claimed: str, found: str, holds: bool) -> Check:
    return Check("agreement", holds, f"{name}: {where}", claimed, found)


def _against_run(source: Source, run: RunDir) -> list[Check]:
    """Compare each claim with the run's figure in the same place."""
    manifest, metrics = run.read_manifest(), run.read_json(run.metrics)
    budget = manifest.get("budget", {})
    files: dict[str, Any] = {**manifest, "metrics": metrics}
    if budget.get("total"):
        files["budget"] = budget | {"share": budget["trainable"] / budget["total"]}
    checks = []
    for path, number in source.figures.items():
        where = f"{source.name}: {'.'.join(path)}, against the run"
        value: Any = files
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if not is_number(value):
            checks.append(
                Check("run", None, where, found=f"claimed {number.written}; not measured in the run")
            )
            continue
        holds = number.range.overlaps(Range(value, value))
        in_percent = number.written.endswith("%")
        text = f"{value:.4%}" if in_percent else f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
        checks.append(
            Check("run", holds, where, number.written, text + _interval_note(path, number.value, metrics))
        )
    recipe = recipe_file.flat(run.read_recipe().model_dump(mode="json"))
    for field, value in source.settings.items():
        where = f"{source.name}: {field}, against the run"
        checks.append(Check("run", value == recipe[field], where, shown(value), shown(recipe[field])))
    return checks


def _interval_note(path: tuple[str, ...], claimed: float, metrics: dict[str, Any]) -> str:
    """Return a note on whether a claimed accuracy is within the run's confidence interval; "" for other figures."""
    if len(path) != 3 or path[0] != "metrics" or path[2] != "accuracy":
        return ""
    low, high = (metrics[path[1]]["accuracy_interval"][end] for end in ("low", "high"))
    inside = "inside" if low <= claimed <= high else "outside"
    return f" (the claim is {inside} the run's 95% interval, {low:.2%} to {high:.2%})"
