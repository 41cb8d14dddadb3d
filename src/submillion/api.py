"""The functions of the Python API: decide on a recipe, train, load and verify runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion import arguments, notices
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.recipe import Recipe
from submillion.recipe_file import checked_overrides
from submillion.run import Run

if TYPE_CHECKING:
    from submillion.auto.decision import Decision
    from submillion.data.rows import LabelledRows
    from submillion.verification.verdict import Verdict

ADOPTION = ("text", "label", "max_length", "budget", "revision")
"""Options of `adopt` that are seldom needed."""

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

    arguments.check_flags(overwrite=overwrite, report=report, quiet=quiet)
    overrides = checked_overrides(overrides)
    if isinstance(recipe, str):
        arguments.check_path(recipe, "recipe")
    if out is not None:
        arguments.check_path(out, "out")
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
    from submillion.auto.subject import check_no_run

    arguments.check_flags(quiet=quiet)
    overrides = checked_overrides(overrides)
    if data is not None:
        arguments.check_path(data, "data")
        check_no_run(data)
    if minutes is not None and (isinstance(minutes, bool) or not isinstance(minutes, Real)):
        raise BadInput(Problem("@{minutes}", "a positive number of minutes", repr(minutes)))
    with notices.collecting(quiet or None):
        rows = _training_rows(texts, labels)
        decision = decide_from(data, overrides=overrides, minutes=minutes, rows=rows, progress=not quiet)
    # A caller may train much later, when the files have changed.
    return replace(decision, checked=None)


def _training_rows(texts: Iterable[str] | None, labels: Iterable[Any] | None) -> LabelledRows | None:
    """Return rows from memory; None if the recipe names the data."""
    from submillion.data.in_memory import labelled_rows

    if texts is None and labels is None:
        return None
    if texts is None or labels is None:
        absent = "texts" if texts is None else "labels"
        raise BadInput(Problem("train", "both @{texts} and @{labels}, or neither", f"no {absent}"))
    return labelled_rows(texts, labels)


def load(path: str | Path, *, precision: str = "auto") -> Run:
    """Open a run directory. The classifier itself is loaded with the first prediction.

    Args:
        path: of the run.
        precision: number format in which new texts are answered; see `Run`.

    Raises:
        BadInput: there is no run, it was written in another format, or an unknown precision.

    Example:
        >>> run = sm.load("runs/reviews")  # doctest: +SKIP
        >>> run.metrics["test"]["accuracy"]  # doctest: +SKIP
        0.9421
    """
    return Run(path, precision=precision)


def adopt(
    adapter: str | Path,
    out: str | Path,
    *,
    encoder: str | Path | None = None,
    labels: Sequence[str] | None = None,
    data: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Make a run of a LoRA classifier that another program trained; its training is called unknown everywhere.

    Args:
        adapter: folder or hub id of a LoRA for sequence classification in peft's format.
        out: the run directory to make.
        encoder: catalog name, hub id or folder; None takes the encoder that the adapter names.
        labels: class names in the order of the head's outputs; None takes those in the adapter's files.
        data: file of labelled texts to evaluate it on, as the run's test split.
        overwrite: replace an existing run.
        quiet: neither notices nor progress on standard error.
        options: `text` and `label`, columns of `data`; `max_length`, the longest input in tokens (default: the
            encoder's, at most 512); `budget`, trainable parameters allowed (default: a million); `revision` of the
            adapter's hub repository.

    Returns:
        The run, which predicts, reports, exports and serves like any other.

    Raises:
        OverBudget: the adapter holds more parameters than the budget; no weight is read.
        BadInput: it cannot be adopted, or encoder, labels, data or directory do not fit.

    Example:
        >>> run = sm.adopt("somebody/lora-news", "runs/news", data="test.csv")  # doctest: +SKIP
        >>> run.metrics["test"]["accuracy"]  # doctest: +SKIP
        0.9365
    """
    from submillion.adoption import adopt as adopt_adapter
    from submillion.adoption_subject import Options

    arguments.check_flags(overwrite=overwrite, quiet=quiet)
    arguments.check_path(adapter, "adapter")
    arguments.check_path(out, "out")
    if data is not None:
        arguments.check_path(data, "data")
    if encoder is not None:
        arguments.check_path(encoder, "encoder")
    if labels is not None:
        arguments.check_names(labels, "labels")
    _check_options(options)
    about = Options(
        None if encoder is None else str(encoder),
        labels,
        data,
        **{name: value for name, value in options.items() if value is not None},
    )
    with notices.collecting(quiet or None):
        return Run(adopt_adapter(adapter, out, about, overwrite=overwrite, progress=not quiet).path)


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse options of `adopt` that it does not have, and numbers that are none."""
    named = [*ADOPTION, "encoder", "labels", "data", "overwrite", "quiet"]
    expected = f"options among {', '.join(ADOPTION)}"
    problems = [
        Problem("adopt", expected, f"'{name}'", did_you_mean(name, named))
        for name in options
        if name not in ADOPTION
    ]
    counts = {name: options[name] for name in ("max_length", "budget") if options.get(name) is not None}
    arguments.check_counts(counts, others=problems)


def verify(
    run: Run | str | Path,
    *,
    against: Run | str | Path | None = None,
    rows: int | None = None,
    full: bool = False,
    seed: int | None = None,
    retrain: bool = False,
    quiet: bool = True,
) -> Verdict:
    """Check what a run or an export reports against predictions, data and adapter; nothing in it is changed.

    Args:
        run: a run whose training has ended, or its directory; or the folder of an export.
        against: with an export, the run that it was made from: each file classifies the run's rows again.
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
    from submillion.verification.dispatch import verify_path

    arguments.check_flags(full=full, retrain=retrain, quiet=quiet)
    path = run.path if isinstance(run, Run) else run
    of_run = against.path if isinstance(against, Run) else against
    arguments.check_path(path, "run")
    if of_run is not None:
        arguments.check_path(of_run, "against")
    with notices.collecting(quiet or None):
        return verify_path(path, of_run, rows, full, seed, retrain, progress=not quiet)
