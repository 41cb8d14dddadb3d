"""How many texts of how many tokens a plan is for: as asked, from the recipe's data, or AG News' figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from submillion import notices
from submillion.budget.plan_result import PlanResult
from submillion.budget.time_model import DEFAULT_EPOCHS, DEFAULT_ROWS, DEFAULT_TOKENS, Workload
from submillion.cache import cache_root
from submillion.recipe import Recipe, TrainRecipe

SAMPLE = 1000  # texts that are tokenized to know their mean length
VALIDATION_SHARE = 1 / 9  # of the training rows, where nothing else is known: a tenth of all


def workload_of(
    result: PlanResult, rows: int | None = None, tokens: float | None = None, epochs: int | None = None
) -> Workload:
    """Return the texts that hours are told for; nothing is downloaded to know them.

    Args:
        result: its recipe names data and encoder; they are read where they are on this machine.
        rows: training texts; None takes the data's.
        tokens: mean tokens per text; None likewise.
        epochs: None takes the recipe's.
    """
    recipe = result.recipe
    train = recipe.train if recipe else TrainRecipe()
    found = None if rows and tokens else _in_data(recipe) if recipe else None
    texts, validation, length, source = found or (
        DEFAULT_ROWS,
        round(DEFAULT_ROWS * VALIDATION_SHARE),
        DEFAULT_TOKENS,
        "AG News (108,000 training texts of 53 tokens)",
    )
    if rows:
        texts, validation = rows, round(rows * VALIDATION_SHARE)
    planned: float = epochs or (recipe.train.epochs if recipe else DEFAULT_EPOCHS)
    if train.max_tokens is not None:
        planned = min(planned, train.max_tokens / (texts * (tokens or length)))
    asked = [name for name, value in (("--rows", rows), ("--tokens", tokens)) if value]
    if asked:
        source = ", ".join(asked) + ("" if len(asked) == 2 else f", else {source}")
    return Workload(
        rows=texts,
        validation_rows=validation,
        tokens=tokens or length,
        epochs=planned,
        batch_size=train.batch_size,
        eval_batch_size=train.eval_batch_size,
        source=source,
        max_seconds=train.max_seconds,
    )


def _in_data(recipe: Recipe) -> tuple[int, int, float, str] | None:
    """Return training rows, validation rows and mean tokens of data and tokenizer that are on this machine."""
    places = {"data": recipe.data.train, "encoders": recipe.encoder.source}
    if not all(Path(name).exists() or (cache_root() / kind / name).is_dir() for kind, name in places.items()):
        return None
    from submillion.data.corpus import load_corpus
    from submillion.data.tokens import encode, load_tokenizer
    from submillion.sources.fetch import fetch_encoder

    with notices.suppressed():  # the training will say it
        corpus = load_corpus(recipe.data, recipe.seed, progress=False)
        tokenizer = load_tokenizer(fetch_encoder(recipe.encoder.source, recipe.encoder.revision, False).path)
    texts = corpus.train.texts
    drawn = np.random.default_rng(recipe.seed).choice(len(texts), min(SAMPLE, len(texts)), replace=False)
    lengths = encode(tokenizer, [texts[row] for row in drawn], recipe.data.max_length).lengths
    source = (
        f"the recipe's data, {SAMPLE:,} of its texts tokenized"
        if len(drawn) == SAMPLE
        else "the recipe's data"
    )
    return len(texts), len(corpus.validation), float(lengths.mean()), source
