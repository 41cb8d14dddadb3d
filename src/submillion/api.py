"""The functions of the Python API: decide on a recipe, train, load and verify runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.recipe import Recipe
from submillion.run import Run

if TYPE_CHECKING:
    from submillion.auto.decision import Decision
    from submillion.data.rows import LabelledRows
    from submillion.verification.verdict import Verdict

# Torch, scikit-learn and matplotlib are imported inside the functions that need them: `load` needs none of them.


def train(
    recipe: Recipe | Decision | str | Path,
    out: str | Path | None = None,
    *,
    texts: Iterable[str] | None = None,
    labels: Iterable[Any] | None = None,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    report: bool = True,
    quiet: bool = False,
) -> Run:
    """Train a classifier and return its run.

    Args:
        recipe: labelled texts (a file, folder or data set of the catalog), for which the recipe is decided and its
            table printed; `auto` to do the same for `texts` and `labels`; a decision of `decide`; or a `Recipe`, the
            name of a shipped one, or a YAML file.
        out: the run directory to make; None takes `runs/NAME`, by the name of the data or the recipe.
        texts: N training texts, in place of `recipe.data.train`; a list, array, Series or pyarrow column.
        labels: N strings, integers, booleans or whole floats, in any of these forms.
        overrides: recipe fields to change, such as `["lora.r=8"]`.
        overwrite: replace an existing run.
        report: score the test rows and make the report; False leaves both to `Run.report`.
        quiet: neither notices nor progress on standard error.

    Returns:
        The complete run, or an interrupted one after Ctrl-C.

    Raises:
        OverBudget: the recipe trains more parameters than its budget; nothing is loaded or written.
        BadInput: the recipe, the data, the encoder or the directory cannot be used as requested.

    Example:
        >>> run = sm.train("auto", "runs/reviews", texts=texts, labels=labels)  # doctest: +SKIP
        >>> run.predict(["arrived broken"])  # doctest: +SKIP
        ['complaint']
    """
    from submillion.training import train as train_named

    outcome = train_named(
        recipe,
        out,
        _training_rows(texts, labels),
        overrides=overrides,
        overwrite=overwrite,
        report=report,
        quiet=quiet,
    )
    return Run(outcome.run.path)


def decide(
    data: str | Path | None = None,
    *,
    texts: Iterable[str] | None = None,
    labels: Iterable[Any] | None = None,
    overrides: Sequence[str] = (),
    minutes: float | None = None,
    quiet: bool = False,
) -> Decision:
    """Decide the recipe of labelled texts without training it; `train` takes the result in place of a recipe.

    The recipe is complete, and equal for equal texts on machines of one class, unless `minutes` is given.

    Args:
        data: file, folder or data set of the catalog; None takes `texts` and `labels`.
        texts: N training texts: a list, array, Series or pyarrow column.
        labels: N strings, integers, booleans or whole floats.
        overrides: recipe fields that are not decided, such as `["encoder.source=mpnet-base", "data.test=test.csv"]`.
        minutes: the run is to end within this time, report included; the speed of this machine is measured for that.
        quiet: neither notices nor progress on standard error.

    Returns:
        The decision: its `recipe`, its `choices` with their reasons, and `render()`, the table.

    Raises:
        OverBudget: the overrides train more parameters than the budget allows.
        BadInput: the texts, the encoder or a field cannot be used.

    Example:
        >>> decision = sm.decide("reviews.csv", minutes=10)  # doctest: +SKIP
        >>> run = sm.train(decision)  # doctest: +SKIP
    """
    from submillion.auto.decide import decide as decide_from

    with notices.collecting(quiet or None):
        rows = _training_rows(texts, labels)
        return decide_from(data, overrides=overrides, minutes=minutes, rows=rows, progress=not quiet)


def _training_rows(texts: Iterable[str] | None, labels: Iterable[Any] | None) -> LabelledRows | None:
    """Return rows from memory; None if the recipe names the data."""
    from submillion.data.in_memory import labelled_rows

    if texts is None and labels is None:
        return None
    if texts is None or labels is None:
        absent = "texts" if texts is None else "labels"
        raise BadInput(Problem("train", "both @{texts} and @{labels}, or neither", f"no {absent}"))
    return labelled_rows(texts, labels)


def load(path: str | Path) -> Run:
    """Open a run directory. The classifier itself is loaded with the first prediction.

    Raises:
        BadInput: there is no run, or it was written in another format.

    Example:
        >>> run = sm.load("runs/reviews")  # doctest: +SKIP
        >>> run.metrics["test"]["accuracy"]  # doctest: +SKIP
        0.9421
    """
    return Run(path)


def verify(
    run: Run | str | Path,
    *,
    rows: int | None = None,
    full: bool = False,
    seed: int | None = None,
    retrain: bool = False,
    quiet: bool = True,
) -> Verdict:
    """Check what a run reports against its predictions, data and adapter; nothing in the run is changed.

    Args:
        run: a run whose training has ended, or its directory.
        rows: rows of each split to predict again; 0 predicts none. None predicts all rows if that takes a minute or
            less on this machine, else 200 of each split.
        full: predict every row again.
        seed: seed of the choice of these rows; None draws one that nobody could know beforehand.
        retrain: train the recipe again, in a temporary directory, and compare everything that it makes.
        quiet: neither notices nor progress on standard error.

    Returns:
        The checks, each with its `strength`; `holds` is True if none of them fails, and `strengths` counts them.

    Raises:
        BadInput: no run, or one that is still being trained.

    Example:
        >>> sm.verify("runs/reviews").holds  # doctest: +SKIP
        True
    """
    from submillion.verification.run.checks import verify as verify_run

    path = run.path if isinstance(run, Run) else run
    with notices.collecting(quiet or None):
        return verify_run(path, rows, full, seed, retrain, progress=not quiet)
