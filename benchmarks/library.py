"""Submillion's own ways to train and to predict, through the library's own step, as variants of a benchmark."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from benchmarks.harness import Opened, Setting
from benchmarks.texts import LABELS, read_texts
from submillion.data.tokens import from_rows
from submillion.fit.feed import Feed, Rows
from submillion.fit.interrupt import Interrupt
from submillion.fit.step import Stepper
from submillion.fit.workers import Workers
from submillion.model.classifier import build
from submillion.model.execution import open_execution
from submillion.model.infer import predict_logits
from submillion.model.precision import choose
from submillion.model.prefix import PrefixCache
from submillion.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.execution import Execution
    from submillion.model.precision import Precision

QUERY_VALUE: dict[str, dict[str, Any]] = {"lora": {"targets": ["query", "value"]}, "head": {"kind": "stock"}}
ALL_LINEAR: dict[str, dict[str, Any]] = {
    "lora": {"r": 6, "alpha": 12, "targets": ["all-linear"]},
    "head": {"kind": "linear"},
}


class OneBatch(Feed):
    """Gives the batch that it was told, whatever the step: all variants are to run the same texts."""

    rows: Sequence[int] = ()

    def at(self, step: int) -> list[np.ndarray]:
        """Return that batch."""
        return [np.asarray(self.rows, dtype=np.int64)]


def open_training(setting: Setting, execution: str, all_linear: bool = False, layers: str = "all") -> Opened:
    """Train as `submillion train` does.

    Args:
        setting: what all variants share.
        execution: `packed` or `reference`.
        all_linear: adapters on every linear layer, and of the head only the output layer is trained.
        layers: which layers are adapted; the output of those below is computed beforehand and kept.
    """
    texts = read_texts(setting)
    recipe = recipe_of(setting, execution, all_linear, layers)
    workers = Workers.start()
    precision = choose(recipe.train.precision)
    classifier = build(setting.encoder, LABELS, recipe)
    tokens = from_rows(texts.ids)
    rows = Rows(tokens, np.array(texts.labels, dtype=np.int64))
    runs = open_execution(classifier, precision, recipe.train.execution)
    stepper = Stepper(classifier, rows, recipe.train, recipe.seed, precision, workers, runs)
    feed = OneBatch(tokens.lengths, recipe.train, recipe.seed)
    stepper.feed = feed
    facts: dict[str, Any] = {
        "tokens_per_text": texts.tokens_per_text,
        "precision": precision.dtype_name,
        "execution": runs.name,
    }
    if classifier.prefix_depth:
        rows.prefix, about = _prefix(classifier, tokens, recipe, precision, runs)
        facts |= about
    classifier.train()
    interrupt = Interrupt()
    done = 0

    def step(batch: Sequence[int]) -> None:
        nonlocal done
        feed.rows = batch
        stepper.do(done, interrupt)
        done += 1

    return Opened(step, texts.grouped, [texts.longest, texts.grouped[0]], facts)


def _prefix(
    classifier: Classifier, tokens: Tokens, recipe: Recipe, precision: Precision, runs: Execution
) -> tuple[PrefixCache, dict[str, Any]]:
    """Build the prefix cache as a training does, and tell what it took."""
    compute = runs.states_of(tokens)
    if compute is None:
        raise SystemExit("the prefix is measured for the packed execution only")
    compute(np.arange(recipe.train.batch_size))  # the weights are laid out at the first use
    computing = 0.0

    def timed(rows: np.ndarray) -> torch.Tensor:
        nonlocal computing
        began = time.perf_counter()
        states = compute(rows)
        computing += time.perf_counter() - began
        return states

    # In a cache folder of its own: what an earlier run left in the user's would be found, not computed.
    with TemporaryDirectory(prefix="prefix-") as folder, mock.patch.dict(os.environ, SUBMILLION_CACHE=folder):
        began = time.perf_counter()
        prefix = PrefixCache.build(
            classifier,
            tokens,
            recipe.train.eval_batch_size,
            precision,
            compute=timed,
            execution=runs.name,
        )
        seconds = time.perf_counter() - began
    if prefix is None:
        raise SystemExit("there is no prefix cache for this encoder")
    facts = {
        "prefix_seconds": seconds,  # with hashing the weights and writing the file
        "prefix_samples_per_s": len(tokens) / computing,
        "prefix_bytes_per_sample": prefix.nbytes / len(tokens),
    }
    return prefix, facts


def open_inference(setting: Setting, execution: str) -> Opened:
    """Predict as `submillion predict` does."""
    texts = read_texts(setting)
    recipe = recipe_of(setting, execution)
    Workers.start()
    precision = choose(recipe.train.precision)
    classifier = build(setting.encoder, LABELS, recipe).eval()
    runs = open_execution(classifier, precision, execution)
    tokens = from_rows(texts.ids)
    # What it does is to sort and to batch, too: a round is one call.
    everything = [row for batch in texts.mixed for row in batch]

    def predict(rows: Sequence[int]) -> None:
        predict_logits(classifier, tokens.take(rows), setting.batch_size, precision, execution=runs)

    facts = {
        "tokens_per_text": texts.tokens_per_text,
        "precision": precision.dtype_name,
        "execution": runs.name,
    }
    return Opened(predict, [everything], [texts.longest, texts.grouped[0]], facts)


def recipe_of(setting: Setting, execution: str, all_linear: bool = False, layers: str = "all") -> Recipe:
    """Return the recipe of a variant."""
    shape = ALL_LINEAR if all_linear else QUERY_VALUE
    return Recipe.model_validate(
        {
            "name": "benchmark",
            "encoder": {"source": str(setting.encoder)},
            "data": {"train": str(setting.data), "max_length": setting.max_length},
            # So many epochs that the learning rate is not down to zero before the last round.
            "train": {"batch_size": setting.batch_size, "epochs": 1000, "execution": execution},
            "lora": {**shape["lora"], "layers": layers},
            "head": shape["head"],
        }
    )
