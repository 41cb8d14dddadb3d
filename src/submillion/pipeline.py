"""One training, top to bottom: gate, corpus, encoder, run, build, fit, score, report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from submillion import notices
from submillion.atomic import atomic_dir
from submillion.data.corpus import load_corpus
from submillion.data.rows import LabelledRows
from submillion.data.tokens import load_tokenizer, tokenize, truncation_report
from submillion.errors import BadInput, Problem
from submillion.fit import tracking
from submillion.fit.fit import fit
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.options import FitOptions
from submillion.fit.workers import Workers
from submillion.model import eva
from submillion.model.classifier import build
from submillion.model.execution.choose import choose_execution
from submillion.model.precision import choose_precision
from submillion.model.process_state import training_settings
from submillion.model.trained import OpenedRun
from submillion.outcome import Outcome
from submillion.recipe import Recipe
from submillion.run_format.metrics import Metrics
from submillion.run_inputs import Inputs, check_unchanged, create_run, gate_early, gated
from submillion.rundir import RunDir
from submillion.sources.fetch import fetch_encoder


def train(
    recipe: Recipe,
    out: str | Path,
    rows: LabelledRows | None = None,
    *,
    overwrite: bool = False,
    quiet: bool = False,
    hold_back_test: bool = False,
) -> Outcome:
    """Train a recipe into a new run directory.

    Everything that can be refused is refused before anything is written or any weight is read.

    Args:
        recipe: the encoder, data, adapters and optimisation.
        out: the run directory to make.
        rows: training rows from memory, in place of `recipe.data.train`.
        overwrite: replace an existing run.
        quiet: neither notices nor progress on standard error.
        hold_back_test: score validation rows alone and make no report; `scoring.finish` does the rest.

    Raises:
        OverBudget: the configuration trains more parameters than the budget allows.
        BadInput: the data, the encoder or the directory cannot be used as requested.
    """
    with notices.collecting(quiet or None):
        recipe = recipe.with_absolute_paths()
        gate_early(recipe)
        with _workers(recipe) as workers:
            inputs, run = _read_inputs(recipe, rows, quiet), RunDir(out)
            if workers.is_main:
                inputs = create_run(run, inputs, rows, overwrite)
            workers.wait()
            return _train(inputs, run, workers, FitOptions.of(recipe, quiet), hold_back_test)


def resume(path: str | Path, *, quiet: bool = False, hold_back_test: bool = False) -> Outcome:
    """Continue an interrupted run from its last checkpoint, with the run's own recipe.

    Args:
        path: the run directory.
        quiet: as in `train`.
        hold_back_test: as in `train`.

    Raises:
        BadInput: no run, a complete one, or data or encoder that have changed since it was started.
    """
    with notices.collecting(quiet or None):
        run = RunDir.open(path)
        manifest = run.read_manifest()
        if manifest["status"] == "complete":
            raise BadInput(Problem(str(path), "an interrupted run", "a complete one"))
        recipe = run.read_recipe()
        with _workers(recipe) as workers:
            inputs = _read_inputs(recipe, None, quiet)
            check_unchanged(manifest, inputs)
            return _train(inputs, run, workers, FitOptions.of(recipe, quiet, resume=True), hold_back_test)


@contextmanager
def _workers(recipe: Recipe) -> Iterator[Workers]:
    """Check the trackers, join the processes of this run, and set this process up for training."""
    tracking.check(recipe.track)
    workers = Workers.start()
    with training_settings(recipe.train.threads, workers.device.type):
        yield workers


def _read_inputs(recipe: Recipe, rows: LabelledRows | None, quiet: bool) -> Inputs:
    """Read and check the data, gate the budget with the data's classes, then fetch the encoder."""
    corpus = load_corpus(recipe.data, recipe.seed, progress=not quiet, train_rows=rows)
    counted = gated(recipe, len(corpus.label_names))
    encoder = fetch_encoder(recipe.encoder.source, recipe.encoder.revision, progress=not quiet)
    return Inputs(recipe, corpus, counted, encoder)


def _train(
    inputs: Inputs, run: RunDir, workers: Workers, options: FitOptions, hold_back_test: bool
) -> Outcome:
    """Build the classifier, fit it, save its adapter, then score it: shared by `train` and `resume`."""
    recipe, corpus = inputs.recipe, inputs.corpus
    precision = choose_precision(recipe.train.precision)
    tokenizer = load_tokenizer(inputs.encoder.path)
    classifier = build(inputs.encoder, corpus.label_names, recipe).to(workers.device)
    execution = choose_execution(classifier, precision, recipe.train.execution, recipe.train.compile)
    tokens = {
        split.name: tokenize(tokenizer, split.texts, recipe.data.max_length, progress=options.progress)
        for split in corpus.splits
    }
    if recipe.lora.variant == "eva":  # also when resumed: its state may not have been saved yet
        eva.start(classifier, tokens["train"], recipe.seed)
    if workers.is_main:
        atomic_dir(run.tokenizer, tokenizer.save_pretrained)
        data = corpus.report | {"tokens": truncation_report(tokens)}
        run.update_manifest(status="running", data=data, notices=notices.collected())
    result = fit(
        execution,
        LabelledTokens.of(tokens["train"], corpus.train.labels),
        LabelledTokens.of(tokens["validation"], corpus.validation.labels),
        recipe=recipe.train,
        seed=recipe.seed,
        run=run,
        workers=workers,
        options=options,
    )
    metrics: Metrics = {}
    if workers.is_main:
        # Scoring loads scikit-learn and matplotlib, which would delay the first step by a second.
        from submillion.scoring import score  # noqa: PLC0415

        classifier.save_adapter(run.adapter)
        opened = OpenedRun(execution, tokenizer, corpus.label_names, recipe.data.max_length)
        metrics = score(
            run, corpus, opened, tokens, result, hold_back_test=hold_back_test, progress=options.progress
        )
    workers.wait()
    return Outcome(run, metrics, inputs.counted.trainable, result.interrupted)
