"""The functions of the Python API: choose a recipe, train, resume, load and verify runs."""

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
"""Rarely needed options of `adopt`."""

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
        recipe: labelled texts (a file, folder or data set of the catalog): the recipe is chosen from them and printed;
            `auto` to do the same for `texts` and `labels`; the result of `decide`; or a `Recipe`, the name of a shipped
            one, or a YAML file.
        out: run directory to create; None: `runs/NAME`, named after the data or the recipe.
        texts: N training texts, instead of `recipe.data.train`; a list, array, Series or pyarrow column.
        labels: N strings, integers, booleans or whole floats, in any of these forms.
        overrides: recipe fields to change, such as `["lora.r=8"]`.
        overwrite: replace an existing run.
        report: score the test rows and write the report; False leaves both to `Run.report`.
        quiet: no notices or progress on standard error.

    Returns:
        The complete run; after Ctrl-C an interrupted one, which `resume` continues.

    Raises:
        OverBudget: the recipe trains more parameters than its budget; nothing is loaded or written.
        BadInput: the recipe, the data, the encoder or the directory cannot be used as requested.

    Example:
        >>> run = sm.train("auto", "runs/reviews", texts=texts, labels=labels)  # doctest: +SKIP
        >>> run.predict(["arrived broken"])  # doctest: +SKIP
        ['complaint']
    """
    from submillion.auto.decision import Decision
    from submillion.training import train as train_named

    arguments.check_flags(overwrite=overwrite, report=report, quiet=quiet)
    overrides = checked_overrides(overrides)
    if not isinstance(recipe, Recipe | Decision):
        remedy = 'Pass texts and labels as `train("auto", texts=..., labels=...)`.'
        arguments.check_path(recipe, "recipe", "a path or a name, or a Recipe or a Decision", remedy)
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


def resume(path: Run | str | Path, *, report: bool = True, quiet: bool = False) -> Run:
    """Continue an interrupted run from its last checkpoint; it ends as it would have without the interruption.

    Args:
        path: a run or its directory, of a process that was killed, stopped with Ctrl-C or cut off by a power failure.
        report: score the test rows and write the report; False leaves both to `Run.report`.
        quiet: no notices or progress on standard error.

    Returns:
        The complete run, or again an interrupted one after Ctrl-C.

    Raises:
        BadInput: there is no run, it is complete, another process is working on it, or its data or encoder have
            changed.

    Example:
        >>> run = sm.resume("runs/reviews")  # doctest: +SKIP
        >>> run.status  # doctest: +SKIP
        'complete'
    """
    from submillion import pipeline

    arguments.check_flags(report=report, quiet=quiet)
    path = path.path if isinstance(path, Run) else path
    arguments.check_path(path, "path")
    return Run(pipeline.resume(path, quiet=quiet, hold_back_test=not report).run.path)


def decide(
    data: str | Path | None = None,
    *,
    texts: Iterable[str] | None = None,
    labels: Iterable[Any] | None = None,
    overrides: Sequence[str] = (),
    minutes: float | None = None,
    quiet: bool = False,
) -> Decision:
    """Choose a recipe for labelled texts without training; `train` takes the result instead of a recipe.

    The recipe is complete. Without `minutes`, equal texts give equal recipes on machines of one class.

    Args:
        data: file, folder or data set of the catalog; None: `texts` and `labels`.
        texts: N training texts: a list, array, Series or pyarrow column.
        labels: N strings, integers, booleans or whole floats.
        overrides: recipe fields to set, such as `["encoder.source=mpnet-base", "data.test=test.csv"]`.
        minutes: time limit of the run in minutes, report included; the machine's speed is measured for it.
        quiet: no notices or progress on standard error.

    Returns:
        The decision: its `recipe`, its `choices` with reasons, and `render()`, the table.

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
        remedy = "Pass texts and labels as `decide(texts=..., labels=...)`."
        arguments.check_path(data, "data", remedy=remedy)
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
    """Open a run directory. The first prediction loads the classifier.

    Args:
        path: run directory.
        precision: number format for predictions; see `Run`.

    Raises:
        BadInput: there is no run, it has another format, or the precision is unknown.

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
    """Turn a LoRA classifier from another program into a run; its training is reported as unknown.

    Args:
        adapter: folder or hub id of a LoRA for sequence classification in PEFT format.
        out: run directory to create.
        encoder: catalog name, hub id or folder; None: the encoder that the adapter names.
        labels: class names in the order of the head's outputs; None: those in the adapter's files.
        data: file of labelled texts to evaluate on, as the run's test split.
        overwrite: replace an existing run.
        quiet: no notices or progress on standard error.
        options: `text` and `label`, columns of `data`; `max_length`, the longest input in tokens (default: the
            encoder's, at most 512); `budget`, maximum trainable parameters (default: a million); `revision` of the
            adapter's hub repository.

    Returns:
        The run; it predicts, reports, exports and serves like any other.

    Raises:
        OverBudget: the adapter has more parameters than the budget; no weight is read.
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
        arguments.check_names(labels, "labels", ordered=True)
    _check_options(options)
    about = Options(
        None if encoder is None else str(encoder),
        labels,
        data,
        **{name: value for name, value in options.items() if value is not None},
    )
    with notices.collecting(quiet or None), arguments.columns_by_argument():
        return Run(adopt_adapter(adapter, out, about, overwrite=overwrite, progress=not quiet).path)


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse unknown options of `adopt`, and invalid values."""
    named = [*ADOPTION, "encoder", "labels", "data", "overwrite", "quiet"]
    expected = f"options among {', '.join(ADOPTION)}"
    problems = [
        Problem("adopt", expected, f"'{name}'", did_you_mean(name, named))
        for name in options
        if name not in ADOPTION
    ]
    counts = {name: options[name] for name in ("max_length", "budget") if options.get(name) is not None}
    arguments.check_counts(counts, others=problems)
    arguments.check_columns(options.get("text"), "text")
    for name in ("label", "revision"):
        arguments.check_text(options.get(name), name)


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
    """Check what a run or an export reports against its predictions, data and adapter, without changing it.

    Args:
        run: a run whose training has ended, or its directory; or the folder of an export.
        against: with an export, the run it was made from: each file classifies the run's rows again.
        rows: rows of each split to predict again; 0: none. None: all rows if that takes a minute or less on this
            machine, else 200 of each split.
        full: predict every row again.
        seed: seed for drawing these rows; None draws an unpredictable one.
        retrain: train the recipe again, in a temporary directory, and compare everything.
        quiet: no notices or progress on standard error.

    Returns:
        The checks, each with its `strength`; `holds` is True if none fails, and `strengths` counts them.

    Raises:
        BadInput: there is no run, or it is still training.

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
