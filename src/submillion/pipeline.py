"""One run, top to bottom: recipe -> budget -> data -> model -> fit -> assess -> figures and card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion import __version__, environment, notices
from submillion.atomic import atomic_dir
from submillion.budget.count import Count, count, gate
from submillion.errors import BadInput, Problem
from submillion.recipe import Recipe
from submillion.run_format.manifest import FORMAT
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from submillion.sources.fetch import encoder_config, fetch_encoder, known_labels

if TYPE_CHECKING:
    from submillion.data.corpus import Corpus
    from submillion.data.tokens import Tokens
    from submillion.fit.result import FitResult
    from submillion.fit.workers import Workers
    from submillion.model.trained import OpenedRun
    from submillion.sources.fetch import FetchedEncoder

HELD_BACK = "test_held_back"  # in the manifest of a trial, until it is finished


@dataclass(frozen=True)
class Outcome:
    """What a training leaves behind, as the command line prints it."""

    run: RunDir
    metrics: dict[str, Any]
    trainable: int
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        """Return the run's place, its metrics and its trainable parameters."""
        return {
            "run": str(self.run.path),
            "interrupted": self.interrupted,
            "trainable": self.trainable,
            "metrics": self.metrics,
        }

    def render(self) -> str:
        """Return the closing lines: each split's accuracy with its interval, and where everything is."""
        lines = []
        for split, metrics in self.metrics.items():
            low, high = (metrics["accuracy_interval"][end] for end in ("low", "high"))
            lines.append(
                f"{split} accuracy {metrics['accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}), "
                f"macro F1 {metrics['macro_f1']:.4f}, {metrics['rows']:,} rows"
            )
        lines.append(f"trainable parameters {self.trainable:,}")
        if self.interrupted:
            lines.append(f"interrupted; continue with: submillion resume {self.run.path}")
        lines.append(f"report: {self.run.report}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Work:
    """All that is settled before the first step."""

    recipe: Recipe
    run: RunDir
    corpus: Corpus
    counted: Count
    encoder: FetchedEncoder
    workers: Workers
    quiet: bool
    trial: bool


def train(
    recipe: Recipe, out: str | Path, overwrite: bool = False, quiet: bool = False, trial: bool = False
) -> Outcome:
    """Train a recipe into a new run directory.

    Everything that can be refused is refused before anything is written or any weight is read.

    Args:
        recipe: what to do.
        out: the run directory to make.
        overwrite: replace a run that stands there.
        quiet: no progress on standard error.
        trial: look at validation rows alone, and make no report; `finish` does the rest for a run that is worth it.

    Raises:
        OverBudget: the configuration trains more parameters than the budget allows.
        BadInput: the data, the encoder or the place cannot be used as asked.
    """
    notices.clear()
    recipe = rooted(recipe)
    check_budget(recipe)
    with _workers(recipe) as workers:
        work = _read(recipe, RunDir(out), workers, quiet, trial)
        if workers.is_main:
            run = RunDir.create(out, overwrite=overwrite)
            run.write_text(run.recipe, recipe.to_yaml())
            run.write_json(run.manifest, _first_manifest(work))
        workers.wait()
        return _run(work, resume=False)


def resume(path: str | Path, quiet: bool = False, trial: bool = False) -> Outcome:
    """Continue an interrupted run where its last checkpoint stands; the recipe is the run's own.

    Args:
        trial: as in `train`.

    Raises:
        BadInput: no run stands there, it is complete, or its data or encoder are not what they were.
    """
    notices.clear()
    run = RunDir.open(path)
    manifest = run.read_manifest()
    if manifest["status"] == "complete":
        raise BadInput(
            Problem(str(path), "an interrupted run", "a complete one", "There is nothing to resume.")
        )
    recipe = run.read_recipe()
    with _workers(recipe) as workers:
        work = _read(recipe, run, workers, quiet, trial)
        _same_as_before(manifest, work)
        return _run(work, resume=True)


def finish(path: str | Path, quiet: bool = False) -> dict[str, Any]:
    """Score the test rows of a run that was trained as a trial, then make its analysis and its report.

    Returns:
        The run's metrics; those of a run that was scored on test before are only read.

    Raises:
        BadInput: no run, one that is not trained to its end, or data or encoder that are not the run's any more.
    """
    from submillion import reporting
    from submillion.assess.run_context import RunContext
    from submillion.assess.score import assess_run

    run = RunDir.open(path)
    manifest = run.read_manifest()
    notices.restore(manifest["notices"])
    if manifest["status"] != "complete":
        raise BadInput(Problem(str(path), "a run trained to its end", f"one that is {manifest['status']}"))
    if not manifest.get(HELD_BACK):
        return run.read_json(run.metrics)
    context = RunContext(run, progress=not quiet)
    test = context.corpus.test
    if test is not None:
        probabilities = context.probabilities(test.texts)
        hashes = [test.text_sha256(row) for row in range(len(test))]
        run.save_predictions(
            test.name, Predictions.of(test.ids, hashes, test.labels, probabilities, context.labels)
        )
    metrics = assess_run(run)
    reporting.after_training(RunContext(run, context.corpus, context.opened, progress=not quiet))
    run.update_manifest(**{HELD_BACK: False})  # at the very end: killed before, all of this is done again
    return metrics


def rooted(recipe: Recipe) -> Recipe:
    """Make paths absolute: a run is resumed and used from other folders than the one it was started in."""

    def absolute(source: str | None) -> str | None:
        return str(Path(source).resolve()) if source and Path(source).exists() else source

    encoder = recipe.encoder.model_copy(update={"source": absolute(recipe.encoder.source)})
    places = {name: absolute(getattr(recipe.data, name)) for name in ("train", "validation", "test")}
    return recipe.model_copy(update={"encoder": encoder, "data": recipe.data.model_copy(update=places)})


@contextmanager
def _workers(recipe: Recipe) -> Iterator[Workers]:
    """Refuse missing trackers, join the processes of `accelerate launch`, and set this one up for training."""
    from submillion.fit import tracking
    from submillion.fit.workers import Workers
    from submillion.model.process_state import training_settings

    tracking.check(recipe.track)
    workers = Workers.start()
    with training_settings(recipe.train.threads, workers.device.type):
        yield workers


def check_budget(recipe: Recipe) -> Count | None:
    """Refuse an over-budget recipe from the encoder's configuration alone, before data or weights are read.

    Returns None where the number of classes is only known once the data is read; it is checked then.
    """
    labels = recipe.data.labels or known_labels(recipe.data.train)
    return _gated(recipe, len(labels)) if labels else None


def _gated(recipe: Recipe, num_labels: int) -> Count:
    config = encoder_config(recipe.encoder.source, recipe.encoder.revision)
    counted = count(config, num_labels, recipe.lora, recipe.head, recipe.budget)
    gate(counted, config, num_labels, recipe.lora, recipe.head)
    return counted


def _read(recipe: Recipe, run: RunDir, workers: Workers, quiet: bool, trial: bool) -> Work:
    """Read and check the data, count the budget with its classes, then fetch the encoder."""
    from submillion.data.corpus import load_corpus

    corpus = load_corpus(recipe.data, recipe.seed, progress=not quiet)
    counted = _gated(recipe, len(corpus.label_names))
    encoder = fetch_encoder(recipe.encoder.source, recipe.encoder.revision, progress=not quiet)
    return Work(recipe, run, corpus, counted, encoder, workers, quiet, trial)


def _run(work: Work, resume: bool) -> Outcome:
    """Tokens, model, fit, adapter, predictions: the part that train and resume share."""
    from submillion.data.tokens import load_tokenizer, tokenize, truncation_report
    from submillion.fit.fit import fit
    from submillion.fit.labelled_tokens import LabelledTokens
    from submillion.fit.options import FitOptions
    from submillion.model import eva
    from submillion.model.classifier import build
    from submillion.model.execution.reference import open_execution
    from submillion.model.precision import choose
    from submillion.model.trained import OpenedRun

    recipe, run, corpus = work.recipe, work.run, work.corpus
    precision = choose(recipe.train.precision)
    tokenizer = load_tokenizer(work.encoder.path)
    classifier = build(work.encoder, corpus.label_names, recipe).to(work.workers.device)
    execution = open_execution(classifier, precision, recipe.train.execution, recipe.train.compile)
    tokens = {
        split.name: tokenize(tokenizer, split.texts, recipe.data.max_length, progress=not work.quiet)
        for split in corpus.splits
    }
    if recipe.lora.variant == "eva":  # a resumed run too: its state may not have been saved yet
        eva.start(classifier, tokens["train"], recipe.seed)
    if work.workers.is_main:
        atomic_dir(run.tokenizer, tokenizer.save_pretrained)
        run.update_manifest(
            status="running",
            data=corpus.report | {"tokens": truncation_report(tokens)},
            notices=notices.collected(),
        )
    result = fit(
        execution,
        LabelledTokens.of(tokens["train"], corpus.train.labels),
        LabelledTokens.of(tokens["validation"], corpus.validation.labels),
        recipe=recipe.train,
        seed=recipe.seed,
        run=run,
        workers=work.workers,
        options=FitOptions(resume, not work.quiet, recipe.track, recipe.model_dump(mode="json")),
    )
    metrics = {}
    if work.workers.is_main:
        classifier.save_adapter(run.adapter)
        opened = OpenedRun(
            classifier, tokenizer, corpus.label_names, recipe.data.max_length, precision, execution
        )
        metrics = _assess(work, opened, tokens, result)
    work.workers.wait()
    return Outcome(run, metrics, work.counted.trainable, result.interrupted)


def _assess(work: Work, opened: OpenedRun, tokens: dict[str, Tokens], result: FitResult) -> dict[str, Any]:
    """Save each split's predictions once; compute metrics, analysis and report from the saved files."""
    from submillion import reporting
    from submillion.assess.run_context import RunContext
    from submillion.assess.score import assess_run
    from submillion.model.infer import predict_probabilities, probabilities_of

    corpus, run = work.corpus, work.run
    # An interrupted run is scored on validation alone: the test rows are looked at once, when it is finished.
    splits = [corpus.validation]
    if corpus.test is not None and not result.interrupted and not work.trial:
        splits.append(corpus.test)
    for split in splits:
        if split is corpus.validation and result.best_logits is not None:
            probabilities = probabilities_of(result.best_logits)
        else:
            probabilities = predict_probabilities(
                opened.classifier,
                tokens[split.name],
                work.recipe.train.eval_batch_size,
                opened.precision,
                progress=not work.quiet,
                execution=opened.execution,
            )
        hashes = [split.text_sha256(row) for row in range(len(split))]
        run.save_predictions(
            split.name, Predictions.of(split.ids, hashes, split.labels, probabilities, corpus.label_names)
        )
    metrics = assess_run(run)
    if work.trial:
        run.seal()  # before it counts as complete: killed in between, it is done again
    run.update_manifest(
        status="interrupted" if result.interrupted else "complete",
        training=result.to_json(),
        notices=notices.collected(),
        **({HELD_BACK: True} if work.trial else {}),
    )
    if work.trial:
        return metrics
    reporting.after_training(RunContext(run, corpus, opened, progress=not work.quiet))
    return metrics


def _first_manifest(work: Work) -> dict[str, Any]:
    """Return what is known before the first step; the rest is added as it comes to be known."""
    recipe, encoder = work.recipe, work.encoder
    return {
        "format": FORMAT,
        "submillion": __version__,
        "name": recipe.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": "running",
        "seed": recipe.seed,
        "labels": work.corpus.label_names,
        "max_length": recipe.data.max_length,
        "versions": environment.versions(),
        "machine": environment.machine(),
        "git": environment.git_state(),
        "encoder": {
            "source": recipe.encoder.source,
            "revision": encoder.revision,
            "name": encoder.name,
            "origin": encoder.origin,
            "via": encoder.via,
            "licence": encoder.licence,
            "model_type": encoder_config(recipe.encoder.source, recipe.encoder.revision)["model_type"],
            "sha256": encoder.sha256,
        },
        "budget": work.counted.to_json(),
        "data": work.corpus.report,
    }


def _same_as_before(manifest: dict[str, Any], work: Work) -> None:
    """Refuse to resume on other data or another encoder than the run was started with."""
    before = {name: split["fingerprint"] for name, split in manifest["data"]["splits"].items()}
    now = {name: split["fingerprint"] for name, split in work.corpus.report["splits"].items()}
    problems = [
        Problem(
            f"{name} rows", "those that the run was started with", "others", "Restore them, or train anew."
        )
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if manifest["encoder"]["sha256"] != work.encoder.sha256:
        problems.append(
            Problem(
                "encoder", "the files that the run was started with", "others", "Restore it, or train anew."
            )
        )
    if problems:
        raise BadInput(problems)
