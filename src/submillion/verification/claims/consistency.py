"""Claims of somebody held against each other, where several texts say the same thing, and against a run."""

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
    """Look whether claims can be true, agree with each other, and are those that a run bears out.

    Args:
        name_or_path: a file of claims, or the name of shipped ones (see `read_claims`).
        run: a run directory whose own figures they are held against; whether those hold is what `verify` says.

    Raises:
        BadInput: no such file or run, or claims of another form.
    """
    sources = read_claims(name_or_path)
    checks = [check for source in sources for check in arithmetic.possible(source)]
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
    """Look whether two texts say the same, as far as both speak of it."""
    name = f"{one.name} and {other.name}"
    checks = []
    for path, claimed in one.figures.items():
        if path in other.figures:
            second = other.figures[path]
            holds = claimed.range.holds(second.range)
            checks.append(_agreement(name, ".".join(path), claimed.written, second.written, holds))
    for field, value in one.settings.items():
        if field in other.settings:
            second_value = other.settings[field]
            checks.append(_agreement(name, field, shown(value), shown(second_value), value == second_value))
    return checks


def _agreement(name: str, where: str, claimed: str, found: str, holds: bool) -> Check:
    return Check("agreement", holds, f"{name}: {where}", claimed, found)


def _against_run(source: Source, run: RunDir) -> list[Check]:
    """Hold each claim against the figure of the run in the same place."""
    manifest, metrics = run.read_manifest(), run.read_json(run.metrics)
    budget = manifest.get("budget", {})
    files: dict[str, Any] = {**manifest, "metrics": metrics}
    if budget.get("total"):
        files["budget"] = budget | {"share": budget["trainable"] / budget["total"]}
    checks = []
    for path, stated in source.figures.items():
        where = f"{source.name}: {'.'.join(path)}, against the run"
        value: Any = files
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if not is_number(value):
            checks.append(
                Check("run", None, where, found=f"claimed {stated.written}; not measured in the run")
            )
            continue
        holds = stated.range.holds(Range(value, value))
        in_percent = stated.written.endswith("%")
        told = f"{value:.4%}" if in_percent else f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
        checks.append(Check("run", holds, where, stated.written, told + _chance(path, stated.value, metrics)))
    recipe = recipe_file.flat(run.read_recipe().model_dump(mode="json"))
    for field, value in source.settings.items():
        where = f"{source.name}: {field}, against the run"
        checks.append(Check("run", value == recipe[field], where, shown(value), shown(recipe[field])))
    return checks


def _chance(path: tuple[str, ...], claimed: float, metrics: dict[str, Any]) -> str:
    """Say of a claimed accuracy whether other rows of the same kind could have given it."""
    if len(path) != 3 or path[0] != "metrics" or path[2] != "accuracy":
        return ""
    low, high = (metrics[path[1]]["accuracy_interval"][end] for end in ("low", "high"))
    inside = "inside" if low <= claimed <= high else "outside"
    return f" (the claim lies {inside} the run's 95% interval, {low:.2%} to {high:.2%})"
