"""Trains whatever a caller names: a recipe, a decision, or labelled texts whose recipe is decided first."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion import notices
from submillion.auto.asked import check_one_source
from submillion.auto.decision import Decision
from submillion.auto.subject import AUTO, names_data, run_name
from submillion.auto.without_effect import announce_fields_without_effect
from submillion.data.corpus_sources import with_rows_from_memory
from submillion.errors import BadInput, Problem
from submillion.recipe import Recipe
from submillion.run_inputs import gate_early
from submillion.rundir import RunDir
from submillion.terminal.console import say

if TYPE_CHECKING:
    from submillion.data.rows import LabelledRows
    from submillion.outcome import Outcome

RUNS = Path("runs")


def train(
    named: Recipe | Decision | str | Path,
    out: str | Path | None = None,
    rows: LabelledRows | None = None,
    *,
    overrides: Sequence[str] = (),
    minutes: float | None = None,
    overwrite: bool = False,
    report: bool = True,
    quiet: bool = False,
) -> Outcome:
    """Train a recipe, or labelled texts, into a new run directory.

    Args:
        named: a recipe, its name or its YAML file; a decision; or a file, folder or data set of labelled texts, or
            `auto`: their recipe is decided, and its table printed to standard error.
        out: the run directory to make; None takes `runs/NAME`, by the recipe's or the data's name.
        rows: training rows from memory, in place of `data.train`.
        overrides: recipe fields to change, such as `["lora.r=8"]`.
        minutes: time limit of the run, report included, where the recipe is decided.
        overwrite: replace an existing run.
        report: score the test rows and make the report.
        quiet: neither notices nor progress nor the table on standard error.

    Raises:
        OverBudget: the recipe trains more parameters than its budget; nothing is loaded or written.
        BadInput: the recipe, the data, the encoder or the directory cannot be used as requested.
    """
    decision: Decision | None = None
    if isinstance(named, str | Path) and (str(named) == AUTO or names_data(named)):
        data = None if str(named) == AUTO else named
        decision = _decided(data, out, rows, overrides, minutes, overwrite, quiet)
    elif minutes is not None:
        remedy = "For a recipe, limit the training with @{train.max_seconds}."
        raise BadInput(Problem("@{minutes}", "labelled texts, whose recipe is decided", "a recipe", remedy))
    elif isinstance(named, Decision):
        decision = named
        if overrides or rows is not None:
            remedy = "Pass @{overrides}, @{texts} and @{labels} to `decide`."
            raise BadInput(Problem("train", "a decision alone", "a decision and changes of it", remedy))
    recipe = decision.recipe if decision else _resolved(named, overrides, rows is not None, quiet)
    gate_early(recipe)  # before torch is imported, so that a refusal takes a second
    with _collector_paused():
        # Loads torch and transformers.
        from submillion import pipeline  # noqa: PLC0415

    with _frozen():
        return pipeline.train(
            recipe,
            out or RUNS / recipe.name,
            rows or (decision.rows if decision else None),
            overwrite=overwrite,
            quiet=quiet,
            hold_back_test=not report,
            decision=decision.to_json() if decision else None,
            checked=decision.checked if decision else None,
        )


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Run the block without Python's garbage collector.

    It would examine the million objects of the libraries again and again while they load, a fifth of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _frozen() -> Iterator[None]:
    """Spare the garbage collector the objects that exist before the block until it ends.

    Examining those of the libraries takes half a second, several times in the first steps.
    """
    if gc.get_freeze_count():  # the caller has frozen objects, which are to stay frozen
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _resolved(named: Any, overrides: Sequence[str], from_memory: bool, quiet: bool) -> Recipe:
    """Return a recipe, or the one of a name or a file, with fields changed."""
    recipe = named.with_overrides(overrides) if isinstance(named, Recipe) else Recipe.load(named, overrides)
    with notices.collecting(quiet or None):
        announce_fields_without_effect(recipe, {item.partition("=")[0] for item in overrides})
    return with_rows_from_memory(recipe, overrides) if from_memory else recipe


def _decided(
    data: str | Path | None,
    out: str | Path | None,
    rows: LabelledRows | None,
    overrides: Sequence[str],
    minutes: float | None,
    overwrite: bool,
    quiet: bool,
) -> Decision:
    """Decide the recipe of labelled texts, and print its table."""
    started_at = time.perf_counter()  # the libraries take seconds to load
    check_one_source(data, overrides, rows)
    name = AUTO if data is None else run_name(data)
    if out is not None or not any(item.startswith("name=") for item in overrides):
        RunDir(out or RUNS / name).check_new(overwrite)  # before the texts are read
    # Loads torch and transformers.
    from submillion.auto.decide import decide  # noqa: PLC0415

    with notices.collecting(quiet or None):
        decision = decide(
            data,
            overrides=overrides,
            minutes=minutes,
            rows=rows,
            progress=not quiet,
            started_at=started_at,
        )
        if not quiet:
            say(decision.render(), err=True)
    return decision
