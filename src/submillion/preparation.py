"""The preparation of a run: every step that can refuse a recipe, before anything is written or deleted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from submillion.data.checked_rows import CheckedRows
from submillion.data.corpus import load_corpus
from submillion.data.label_texts import label_texts
from submillion.data.rows import LabelledRows
from submillion.data.token_report import check_known, token_report
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import Tokens, tokenize
from submillion.data.truncation import Truncation
from submillion.estimate.resources import check_disk, check_memory
from submillion.fit import tracking
from submillion.fit.cross_validation import CrossValidation, trained_values
from submillion.fit.fit import check_processes
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.loss import check_r_drop
from submillion.fit.plan import TrainingPlan
from submillion.fit.workers import Workers
from submillion.model import eva
from submillion.model.build import build
from submillion.model.execution.choose import choose_execution
from submillion.model.execution.int8_prefix import lower_layers
from submillion.model.execution.int8_training import set_step_precision
from submillion.model.execution.windowed import Windowed
from submillion.model.precision import choose_precision
from submillion.model.protocol import LowerLayers
from submillion.model.trained import OpenedRun
from submillion.recipe import Recipe
from submillion.run_format.manifest import Manifest
from submillion.run_inputs import Inputs, check_unchanged, gated
from submillion.rundir import RunDir
from submillion.sources.fetch import fetch_encoder


@dataclass(frozen=True)
class Prepared:
    """A classifier that is ready to be trained, and its texts."""

    inputs: Inputs
    opened: OpenedRun
    """The classifier with its first values; `fit` trains it in place."""
    tokens: dict[str, Tokens]
    """By split."""
    token_report: dict[str, dict[str, Any]]
    """Lengths, truncated texts and unknown tokens by split, for the manifest."""
    names: Tokens | None = None
    """The names of the labels as texts, if the recipe uses them and all of them have words."""
    lower: LowerLayers | None = None
    """What fills the prefix cache in place of the classifier's execution, if the recipe asks for it."""

    def labelled(self, split: str) -> LabelledTokens:
        """Return the texts and labels of one split."""
        labels = {part.name: part.labels for part in self.inputs.corpus.splits}
        return replace(LabelledTokens.of(self.tokens[split], labels[split]), names=self.names)

    def cross_validation(self, run: RunDir, workers: Workers) -> CrossValidation | None:
        """Return the cross-validation that the recipe asks for, if any; to be called before the training.

        Args:
            run: saves the folds.
            workers: a single process.
        """
        folds, recipe, execution = self.inputs.corpus.folds, self.inputs.recipe, self.opened.execution
        if folds is None:
            return None
        first = {name: value.clone() for name, value in trained_values(execution).items()}

        def restart(texts: LabelledTokens) -> None:
            for name, value in trained_values(execution).items():
                value.copy_(first[name])
            if recipe.lora.variant == "eva":
                eva.start(self.opened.classifier, texts.tokens, recipe.seed)

        plan = TrainingPlan.of(recipe)
        train = self.labelled("train")
        return CrossValidation(execution, train, folds, plan, run, workers, restart, self.lower)

    def with_inputs(self, inputs: Inputs) -> Self:
        """Return a copy with other inputs."""
        return replace(self, inputs=inputs)


def prepare(
    recipe: Recipe,
    workers: Workers,
    quiet: bool,
    place: Path,
    rows: LabelledRows | None = None,
    resumed: Manifest | None = None,
    checked: CheckedRows | None = None,
) -> Prepared:
    """Read and check the data, gate the budget, fetch the encoder, build the classifier and tokenize the texts.

    Args:
        recipe: with absolute paths.
        workers: the processes that train together.
        quiet: show no progress.
        place: the run directory, whose disk must have room.
        rows: training rows from memory, in place of `recipe.data.train`.
        resumed: the manifest of a run that is resumed: its data and its encoder must be unchanged.
        checked: the rows, if they have been read for this recipe.

    Raises:
        OverBudget: the configuration trains more parameters than the budget allows.
        BadInput: anything else that the training cannot use.
    """
    tracking.check(recipe.track)
    check_processes(recipe, workers.world)
    corpus = load_corpus(recipe.data, recipe.seed, progress=not quiet, train_rows=rows, checked=checked)
    counted = gated(recipe, len(corpus.label_names))
    check_disk(recipe, counted, corpus, place)
    revision = recipe.encoder.revision
    if resumed is not None:  # a branch of the hub may have moved on
        revision = resumed["encoder"]["revision"] or revision
    encoder = fetch_encoder(recipe.encoder.source, revision, progress=not quiet)
    inputs = Inputs(recipe, corpus, counted, encoder)
    if resumed is not None:
        check_unchanged(resumed, inputs)

    precision = choose_precision(recipe.train.precision)
    tokenizer = load_tokenizer(encoder.path)
    truncation = Truncation.of(recipe.data)
    tokens = {
        split.name: tokenize(tokenizer, split.texts, truncation, progress=not quiet)
        for split in corpus.splits
    }
    texts = {split.name: split.texts for split in corpus.splits}
    report = token_report(tokenizer, tokens, texts, truncation)
    check_known(report, recipe.data.max_unknown_tokens, recipe.encoder.source)
    check_memory(recipe, counted, tokens, precision, workers.device.type)
    classifier = build(encoder, corpus.label_names, recipe).to(workers.device)
    check_r_drop(recipe.train, classifier)
    execution = choose_execution(classifier, precision, recipe.train.execution, recipe.train.compile)
    set_step_precision(recipe.train, execution)
    if truncation.windows == "all":
        execution = Windowed(execution)
    if recipe.lora.variant == "eva":  # also when resumed: its state may not have been saved yet
        eva.start(classifier, tokens["train"], recipe.seed)
    lower = lower_layers(recipe.train, execution, tokens["train"], progress=not quiet)
    opened = OpenedRun(execution, tokenizer, corpus.label_names, truncation)
    names = label_texts(corpus.label_names) if recipe.head.label_names else []
    named = tokenize(tokenizer, names, truncation) if names else None
    return Prepared(inputs, opened, tokens, report, named, lower)
