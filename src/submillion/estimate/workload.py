"""The workload of a plan: number and length of the texts, from the options, the recipe's data, or AG News."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from submillion import notices
from submillion.budget.plan_result import PlanResult
from submillion.budget.time_model import DEFAULT_EPOCHS, DEFAULT_ROWS, DEFAULT_TOKENS, Workload
from submillion.cache import cache_root
from submillion.data.corpus import load_corpus
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.recipe import Recipe, TrainRecipe
from submillion.recipe_data import CROSS_VALIDATION
from submillion.sources.fetch import fetch_encoder

SAMPLE = 1000
"""Texts that are tokenized to estimate the mean length."""
VALIDATION_SHARE = 1 / 9
"""Validation rows per training row if nothing else is known: a tenth of all rows."""


def workload_of(
    result: PlanResult, rows: int | None = None, tokens: float | None = None, epochs: int | None = None
) -> Workload:
    """Return the workload that hours are predicted for, without downloading anything.

    Args:
        result: its recipe names data and encoder, which are read if they are on this machine.
        rows: training texts; None uses the data's number.
        tokens: mean tokens per text; None likewise.
        epochs: None uses the recipe's.
    """
    recipe = result.recipe
    train = recipe.train if recipe else TrainRecipe()
    measured = _from_data(recipe) if recipe and not (rows and tokens) else None
    texts, validation, length, windows, source = measured or (
        DEFAULT_ROWS,
        round(DEFAULT_ROWS * VALIDATION_SHARE),
        DEFAULT_TOKENS,
        1.0,
        "AG News (108,000 training texts of 53 tokens)",
    )
    if tokens and recipe and recipe.data.windows == "all":
        windows = max(1.0, tokens / recipe.data.max_length)
    if rows:
        texts, validation = rows, round(rows * VALIDATION_SHARE)
    per_epoch = steps_per_epoch(train, texts, tokens or length)
    planned: float = epochs or (recipe.train.epochs if recipe else DEFAULT_EPOCHS)
    if train.steps is not None and epochs is None:
        planned = train.steps / per_epoch
    if train.max_tokens is not None:
        planned = min(planned, train.max_tokens / (texts * (tokens or length)))
    if recipe and (added := fold_trainings(recipe)):
        planned *= 1 + added
        validation, source = 0, f"{source}, the folds of the cross-validation included"
    options = [name for name, value in (("--rows", rows), ("--tokens", tokens)) if value]
    if options:
        source = ", ".join(options) + ("" if len(options) == 2 else f", else {source}")
    return Workload(
        rows=texts,
        validation_rows=validation,
        tokens=tokens or length,
        epochs=planned,
        batch_size=train.batch_size,
        eval_batch_size=train.eval_batch_size,
        source=source,
        evaluations=evaluations_of(train, planned, per_epoch),
        passes=2 if train.r_drop else 1,
        max_seconds=train.max_seconds,
        windows=windows,
    )


def fold_trainings(recipe: Recipe) -> int:
    """Return the trainings that a cross-validation adds, in units of the one on all texts; 0 without one.

    A fold's training leaves out its share of the texts, but has as many steps where these are planned in place of
    epochs.
    """
    if recipe.data.validation != CROSS_VALIDATION:
        return 0
    return recipe.data.repeats * (recipe.data.folds - (recipe.train.steps is None))


def steps_per_epoch(train: TrainRecipe, texts: int, tokens: float) -> int:
    """Return the optimizer steps of an epoch of one process."""
    batches = texts / train.batch_size if train.batch_tokens is None else texts * tokens / train.batch_tokens
    return math.ceil(math.ceil(batches) / train.gradient_accumulation_steps)


def evaluations_of(train: TrainRecipe, epochs: float, steps_per_epoch: int) -> int:
    """Return the number of evaluations; each of them takes twice the time once there is an average."""
    if train.evaluation_share is not None:
        number: float = min(1 / train.evaluation_share, epochs * steps_per_epoch)
    elif isinstance(train.eval_every, int):
        number = epochs * steps_per_epoch / train.eval_every
    else:
        number = epochs
    return math.ceil(round(number * (1 if train.average_from is None else 2 - train.average_from), 6))


def _from_data(recipe: Recipe) -> tuple[int, int, float, float, str] | None:
    """Return training rows, validation rows, mean tokens and windows of a text, and the source of these numbers.

    None if data or encoder are not here.
    """
    locations = {"data": recipe.data.train, "encoders": recipe.encoder.source}
    if not all(
        Path(name).exists() or (cache_root() / kind / name).is_dir() for kind, name in locations.items()
    ):
        return None
    with notices.suppressed():  # the training repeats them
        corpus = load_corpus(recipe.data, recipe.seed, progress=False)
        tokenizer = load_tokenizer(fetch_encoder(recipe.encoder.source, recipe.encoder.revision, False).path)
    texts = corpus.train.texts
    sample = np.random.default_rng(recipe.seed).choice(len(texts), min(SAMPLE, len(texts)), replace=False)
    read = encode(tokenizer, [texts[row] for row in sample], Truncation.of(recipe.data))
    windows = len(read.as_windows()) / len(read)
    source = (
        f"the recipe's data, {SAMPLE:,} of its texts tokenized"
        if len(sample) == SAMPLE
        else "the recipe's data"
    )
    return len(texts), len(corpus.validation), float(read.lengths.mean()), windows, source
