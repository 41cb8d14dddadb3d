"""Submillion's training and prediction as variants of a benchmark."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch

from benchmarks.texts import LABELS, Texts, exact_texts, read_texts
from benchmarks.variants import Opened, Setting
from submillion import notices
from submillion.data.tokens import from_rows
from submillion.fit.batch_schedule import BatchSchedule
from submillion.fit.interrupt import Interrupt
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.step import Stepper
from submillion.fit.workers import Workers
from submillion.model.build import build
from submillion.model.execution.choose import choose_execution
from submillion.model.execution.int8_training import set_step_precision
from submillion.model.execution.packed_int8 import open_int8
from submillion.model.infer import predict_logits
from submillion.model.precision import choose_precision
from submillion.model.prefix import PrefixCache
from submillion.recipe import Recipe

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.protocol import Execution

QUERY_VALUE: dict[str, dict[str, Any]] = {"lora": {"targets": ["query", "value"]}, "head": {"kind": "stock"}}
ALL_LINEAR: dict[str, dict[str, Any]] = {
    "lora": {"r": 6, "alpha": 12, "targets": ["all-linear"]},
    "head": {"kind": "linear"},
}


def set_up_process(threads: int | None = None) -> None:
    """Set denormal mode and number of threads as a training does; None keeps torch's number of threads."""
    torch.set_flush_denormal(True)
    if threads is not None:
        torch.set_num_threads(threads)


class OneBatch(BatchSchedule):
    """Returns `rows` at every step, so that all variants run the same texts."""

    rows: Sequence[int] = ()

    def batches_at(self, step: int) -> list[np.ndarray]:  # noqa: ARG002 - the same batch at every step
        """Return that batch."""
        return [np.asarray(self.rows, dtype=np.int64)]


def open_training(setting: Setting, execution: str, **choices: Any) -> Opened:
    """Train as `submillion train` does; `execution` and `choices` are those of `recipe_of`."""
    return _training(setting, read_texts(setting), recipe_of(setting, execution, **choices))


def open_growth(
    setting: Setting,
    length: int,
    tokens: int,
    rank: int = 8,
    layers: str = "all",
    cached: bool = True,
    threads: int | None = None,
    batch_size: int | None = None,
) -> Opened:
    """Train on texts of equal length.

    Args:
        setting: encoder, data and batch size.
        length: tokens per text, special tokens included.
        tokens: tokens per round, rounded to at least one whole batch.
        rank: rank of the adapters on query and value.
        layers: which layers are adapted.
        cached: cache the output of the layers below instead of computing it in every step.
        threads: processor threads; None keeps torch's number.
        batch_size: texts per batch; None uses the setting's.
    """
    setting = replace(setting, batch_size=batch_size or setting.batch_size, max_length=length)
    batches = max(1, round(tokens / (length * setting.batch_size)))
    texts = exact_texts(setting, length, batches)
    recipe = recipe_of(setting, "auto", layers=layers, rank=rank)
    with notices.suppressed():  # a dozen processes would repeat them
        opened = _training(setting, texts, recipe, cached, threads)
    return replace(opened, warm_up=opened.warm_up[:1])  # all batches have the same shape


def _training(
    setting: Setting, texts: Texts, recipe: Recipe, cached: bool = True, threads: int | None = None
) -> Opened:
    set_up_process(threads)
    workers = Workers.start()
    precision = choose_precision(recipe.train.precision)
    classifier = build(setting.encoder, LABELS, recipe)
    tokens = from_rows(texts.ids)
    execution = choose_execution(classifier, precision, recipe.train.execution)
    set_step_precision(recipe.train, execution)
    train = LabelledTokens.of(tokens, texts.labels)
    stepper = Stepper(execution, train, recipe.train, recipe.seed, workers)
    batches = OneBatch(tokens.lengths, recipe.train, recipe.seed)
    stepper.batches = batches
    facts: dict[str, Any] = {
        "tokens_per_text": texts.tokens_per_text,
        "precision": precision.dtype_name,
        "execution": execution.name,
    }
    if classifier.prefix_depth and cached:
        prefix, prefix_facts = _prefix(tokens, recipe, execution)
        stepper.train = replace(train, prefix=prefix)
        facts |= prefix_facts
    classifier.train()
    interrupt = Interrupt()
    numbers = itertools.count()

    def step(batch: Sequence[int]) -> None:
        batches.rows = batch
        stepper.step(next(numbers), interrupt)

    return Opened(step, texts.grouped, [texts.longest, texts.grouped[0]], facts)


def _prefix(tokens: Tokens, recipe: Recipe, execution: Execution) -> tuple[PrefixCache, dict[str, Any]]:
    """Build the prefix cache as a training does; return it with its cost."""
    forward = execution.prefix_forward(tokens)
    with torch.no_grad():
        forward(np.arange(min(len(tokens), recipe.train.batch_size)))  # the first use packs the weights
    forward_s = 0.0

    def timed(rows: np.ndarray) -> torch.Tensor:
        nonlocal forward_s
        started_at = time.perf_counter()
        states = forward(rows)
        forward_s += time.perf_counter() - started_at
        return states

    # In an empty cache folder: states of an earlier run in the user's cache would be read, not computed.
    with (
        TemporaryDirectory(prefix="prefix-") as folder,
        mock.patch.dict(os.environ, SUBMILLION_CACHE=folder),
        mock.patch.object(execution, "prefix_forward", lambda _: timed),
    ):
        started_at = time.perf_counter()
        prefix = PrefixCache.build(execution, tokens, recipe.train.eval_batch_size)
        seconds = time.perf_counter() - started_at
    if prefix is None:
        raise SystemExit("this encoder has no prefix cache")
    facts = {
        "prefix_seconds": seconds,  # includes hashing the weights and writing the file
        "prefix_samples_per_s": len(tokens) / forward_s,
        "prefix_bytes_per_sample": prefix.nbytes / len(tokens),
    }
    return prefix, facts


def open_inference(
    setting: Setting, execution: str, merged: bool = False, all_linear: bool = False
) -> Opened:
    """Predict as `submillion predict` does.

    Args:
        setting: what all variants share.
        execution: `packed` or `reference`.
        merged: merge the adapters into the weights, as `submillion predict` does.
        all_linear: adapters on every linear layer, for encoders without separate queries and values.
    """
    recipe = recipe_of(setting, execution, all_linear)
    set_up_process()
    precision = choose_precision(recipe.train.precision)
    classifier = build(setting.encoder, LABELS, recipe).eval()
    return _predicting(setting, choose_execution(classifier, precision, execution, merged=merged))


def open_int8_inference(setting: Setting, all_linear: bool = False) -> Opened:
    """Predict with products in int8, as `submillion predict --precision auto` does where a run has proven it."""
    set_up_process()
    classifier = build(setting.encoder, LABELS, recipe_of(setting, "packed", all_linear)).eval()
    return _predicting(setting, open_int8(classifier))


def _predicting(setting: Setting, opened: Execution) -> Opened:
    texts = read_texts(setting)
    tokens = from_rows(texts.ids)
    # Prediction also sorts and batches, so a round is one call.
    all_rows = [row for batch in texts.mixed for row in batch]

    def predict(rows: Sequence[int]) -> None:
        predict_logits(opened, tokens.take(rows), setting.batch_size)

    facts = {
        "tokens_per_text": texts.tokens_per_text,
        "precision": opened.precision.dtype_name,
        "execution": opened.name,
    }
    return Opened(predict, [all_rows], [texts.longest, texts.grouped[0]], facts)


def recipe_of(
    setting: Setting,
    execution: str,
    all_linear: bool = False,
    layers: str = "all",
    rank: int | None = None,
    frozen: str = "float",
) -> Recipe:
    """Return the recipe of a variant.

    Args:
        setting: what all variants share.
        execution: `packed`, `reference` or `auto`.
        all_linear: adapters on every linear layer, and only the output layer of the head is trained.
        layers: which layers are adapted; the output of the layers below is cached beforehand.
        rank: of the adapters; None uses the usual rank of the targets.
        frozen: `train.frozen_precision`.
    """
    ranked = {} if rank is None else {"r": rank, "alpha": 2 * rank}
    shape = ALL_LINEAR if all_linear else QUERY_VALUE
    return Recipe.model_validate(
        {
            "name": "benchmark",
            "encoder": {"source": str(setting.encoder)},
            "data": {"train": str(setting.data), "max_length": setting.max_length},
            # Enough epochs to keep the learning rate above zero until the last round.
            "train": {
                "batch_size": setting.batch_size,
                "epochs": 1000,
                "execution": execution,
                "frozen_precision": frozen,
            },
            "lora": {**shape["lora"], **ranked, "layers": layers},
            "head": shape["head"],
        }
    )
