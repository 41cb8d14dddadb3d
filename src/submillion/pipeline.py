"""One training, top to bottom: prepare, make the run directory, fit, score, report."""

from __future__ import annotations

from pathlib import Path

from submillion import notices
from submillion.budget.pooling import with_pooling
from submillion.data.checked_rows import CheckedRows
from submillion.data.rows import LabelledRows
from submillion.errors import BadInput, Problem
from submillion.files.atomic import atomic_dir
from submillion.fit.fit import fit
from submillion.fit.options import FitOptions
from submillion.fit.plan import TrainingPlan
from submillion.fit.workers import Workers
from submillion.model.process_state import training_settings
from submillion.outcome import Outcome
from submillion.preparation import Prepared, prepare
from submillion.recipe import Recipe
from submillion.run_format.manifest import DecisionEntry, Manifest
from submillion.run_format.metrics import Metrics
from submillion.run_inputs import announce_other_arithmetic, create_run, gate_early, save_tokenizer
from submillion.rundir import RunDir


def train(
    recipe: Recipe,
    out: str | Path,
    rows: LabelledRows | None = None,
    *,
    overwrite: bool = False,
    quiet: bool = False,
    hold_back_test: bool = False,
    decision: DecisionEntry | None = None,
    checked: CheckedRows | None = None,
) -> Outcome:
    """Train a recipe into a new run directory.

    Everything that can be refused is refused before anything is written; an earlier run is deleted when the new one
    is complete.

    Args:
        recipe: the encoder, data, adapters and optimisation.
        out: the run directory to make.
        rows: training rows from memory, in place of `recipe.data.train`.
        overwrite: replace an existing run.
        quiet: neither notices nor progress on standard error.
        hold_back_test: score validation rows alone and make no report; `scoring.finish` does the rest.
        decision: the facts and reasons of a recipe that `auto` has decided, for the manifest.
        checked: the rows as `auto` has read them.

    Raises:
        OverBudget: the configuration trains more parameters than the budget allows.
        BadInput: the data, the encoder or the directory cannot be used as requested.
    """
    with notices.collecting(quiet or None):
        recipe = with_pooling(recipe.with_absolute_paths())
        gate_early(recipe)
        run, workers, options = RunDir(out), Workers.start(), FitOptions.of(recipe, quiet)
        if workers.is_main:
            run.check_new(overwrite, recipe.needed_sources())
        with training_settings(recipe.train.threads, workers.device.type):
            prepared = prepare(recipe, workers, quiet, run.path, rows, checked=checked)
            with run.new(overwrite, workers.is_main):
                if workers.is_main:
                    prepared = prepared.with_inputs(create_run(run, prepared.inputs, rows, decision))
                workers.wait()
                return _train(run, prepared, workers, options, hold_back_test)


def resume(path: str | Path, *, quiet: bool = False, hold_back_test: bool = False) -> Outcome:
    """Continue an interrupted run from its last checkpoint, or end what a killed `evaluate` or `report` began.

    Args:
        path: the run directory.
        quiet: as in `train`.
        hold_back_test: as in `train`.

    Raises:
        BadInput: no run, a complete one, data or encoder that have changed since it was started, or another process
            is working on it.
    """
    with notices.collecting(quiet or None):
        run, workers = RunDir(path), Workers.start()
        with run.locked(workers.is_main):
            workers.wait()
            manifest = run.read_manifest()
            if manifest["status"] == "complete":
                return _complete(run, manifest)
            recipe = run.read_recipe()
            options = FitOptions.of(recipe, quiet, resume=True)
            with training_settings(recipe.train.threads, workers.device.type):
                prepared = prepare(recipe, workers, quiet, run.path, resumed=manifest)
                announce_other_arithmetic(manifest)
                return _train(run, prepared, workers, options, hold_back_test)


def _complete(run: RunDir, manifest: Manifest) -> Outcome:
    """End what a killed `evaluate` or `report` began."""
    if "unfinished" not in manifest:
        raise BadInput(Problem(str(run.path), "an interrupted run", "a complete one"))
    # Loads scikit-learn and matplotlib.
    from submillion import reporting  # noqa: PLC0415

    reporting.complete(run)
    return Outcome(run, run.read_metrics(), manifest["budget"]["trainable"], interrupted=False)


def _train(
    run: RunDir, prepared: Prepared, workers: Workers, options: FitOptions, hold_back_test: bool
) -> Outcome:
    """Fit the classifier, save its adapter, then score it: shared by `train` and `resume`."""
    inputs, opened = prepared.inputs, prepared.opened
    if workers.is_main:
        save_tokenizer(opened.tokenizer, run.tokenizer)
        data = inputs.corpus.report | {"tokens": prepared.token_report}
        run.update_manifest(status="running", data=data, notices=notices.collected())
    folds = prepared.cross_validation(run, workers)
    result = fit(
        opened.execution,
        prepared.labelled("train"),
        None if folds else prepared.labelled("validation"),
        plan=TrainingPlan.of(inputs.recipe),
        run=run,
        workers=workers,
        options=options,
        lower=prepared.lower,
    )
    metrics: Metrics = {}
    if workers.is_main:
        # Scoring loads scikit-learn and matplotlib, which would delay the first step by a second.
        from submillion.scoring import score  # noqa: PLC0415

        atomic_dir(run.adapter, opened.classifier.save_adapter)
        if folds and not result.interrupted:
            result = folds.add_to(result, options)
        metrics = score(
            run,
            inputs.corpus,
            opened,
            prepared.tokens,
            result,
            hold_back_test=hold_back_test,
            progress=options.progress,
        )
    workers.wait()
    return Outcome(run, metrics, inputs.counted.trainable, result.interrupted)
