"""Measures the memory of a training by number of texts: data, tokens, batches and first steps, phase by phase."""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks.distinct_texts import write_rows
from benchmarks.harness import log
from benchmarks.isolated import ProcessFailed, run_isolated
from benchmarks.variants import Setting

if TYPE_CHECKING:
    from submillion.data.corpus import Corpus
    from submillion.data.tokens import Tokens
    from submillion.fit.batch_schedule import BatchSchedule

STEPS = 2
"""Steps to run; the first one has the longest texts."""


def measure_rows(setting: Setting, sizes: list[int]) -> list[dict[str, Any]]:
    """Return one row per number of texts.

    Returns:
        Per number `value` (texts), `peak_rss_mb` (of the process, MB of 10^6 bytes), `rss_mb` and `seconds` by
        phase, `held_bytes_per_text` (by kind of data) and `peak_bytes_per_text` (peak memory per text added since the
        previous row; None in the first row); or `value` and `error`.
    """
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="growth-") as folder:
        file = Path(folder) / "train.csv"
        for size in sizes:
            try:
                run_isolated(write_rows, setting.data, file, size)
                measured = run_isolated(_measure, setting, file)
            except ProcessFailed as error:
                log(f"{size:,} texts: {error}")
                rows.append({"value": size, "error": str(error)})
                continue
            earlier = [row for row in rows if "error" not in row]
            slope = None
            if earlier:
                added_mb = measured["peak_rss_mb"] - earlier[-1]["peak_rss_mb"]
                slope = 1e6 * added_mb / (size - earlier[-1]["value"])
            rows.append({"value": size, **measured, "peak_bytes_per_text": slope})
            log(f"{size:,} texts: peak {measured['peak_rss_mb']:,.0f} MB")
    return rows


def _measure(setting: Setting, file: Path) -> dict[str, Any]:
    """Do what `submillion train` does up to its first steps; run in a process of its own."""
    started_at = time.perf_counter()
    import psutil

    from benchmarks.library import recipe_of, set_up_process
    from submillion import environment, notices
    from submillion.data.corpus import load_corpus
    from submillion.fit.interrupt import Interrupt
    from submillion.fit.labelled_tokens import LabelledTokens
    from submillion.fit.step import Stepper
    from submillion.fit.workers import Workers
    from submillion.model.build import build
    from submillion.model.execution.choose import choose_execution
    from submillion.model.precision import choose_precision

    rss: dict[str, float] = {}
    seconds: dict[str, float] = {}

    def end_phase(name: str) -> None:
        nonlocal started_at
        rss[name] = psutil.Process().memory_info().rss / 1e6
        seconds[name] = time.perf_counter() - started_at
        started_at = time.perf_counter()

    recipe = recipe_of(setting, "auto")
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": str(file)})})
    set_up_process()
    workers = Workers.start()
    end_phase("imports")
    with notices.suppressed():
        corpus = load_corpus(recipe.data, recipe.seed, progress=False)
        end_phase("data")
        precision = choose_precision(recipe.train.precision)
        classifier = build(setting.encoder, corpus.label_names, recipe)
        execution = choose_execution(classifier, precision, recipe.train.execution)
        end_phase("model")
    tokens = _tokenize(setting, corpus, recipe.data.max_length)
    end_phase("tokens")
    train = LabelledTokens.of(tokens["train"], corpus.train.labels)
    stepper = Stepper(execution, train, recipe.train, recipe.seed, workers)
    stepper.batches.batches_at(0)
    end_phase("batches")
    classifier.train()
    interrupt = Interrupt()
    for step in range(min(STEPS, stepper.batches.steps_per_epoch)):
        stepper.step(step, interrupt)
    end_phase("steps")
    return {
        "peak_rss_mb": environment.peak_memory_mb(),
        "rss_mb": rss,
        "seconds": seconds,
        "execution": execution.name,
        "tokens_per_text": float(tokens["train"].lengths.mean()),
        "held_bytes_per_text": _held(corpus, tokens, stepper.batches),
    }


def _tokenize(setting: Setting, corpus: Corpus, max_length: int) -> dict[str, Tokens]:
    """Tokenize all splits, with an empty token cache."""
    from submillion.data.tokenizer import load_tokenizer
    from submillion.data.tokens import tokenize
    from submillion.data.truncation import Truncation

    with TemporaryDirectory(prefix="tokens-") as folder, mock.patch.dict(os.environ, SUBMILLION_CACHE=folder):
        tokenizer = load_tokenizer(setting.encoder)
        return {
            split.name: tokenize(tokenizer, split.texts, Truncation(max_length), progress=False)
            for split in corpus.splits
        }


def _held(corpus: Corpus, tokens: dict[str, Tokens], batches: BatchSchedule) -> dict[str, float]:
    """Return the bytes per text that a training holds from the first step to the last, by kind of data.

    Only recently read pages of a mapped file are in memory, and the system can reclaim them.
    """
    from submillion.data.text_column import TextColumn

    texts = sum(len(split) for split in corpus.splits)
    pointer = 8  # bytes of a list per item
    held = {
        "places_of_texts_and_ids": sum(
            column.nbytes
            for split in corpus.splits
            for column in (split.texts, split.ids)
            if isinstance(column, TextColumn)
        ),
        # Python shares small integers.
        "labels": sum(pointer * len(split.labels) for split in corpus.splits),
        "token_ids_in_a_file": sum(split.ids.nbytes for split in tokens.values()),
        "offsets_and_lengths": sum(
            split.offsets.nbytes + split.full_lengths.nbytes for split in tokens.values()
        ),
        "batches_of_an_epoch": sum(
            batch.nbytes for step in range(batches.steps_per_epoch) for batch in batches.batches_at(step)
        ),
    }
    return {name: size / texts for name, size in held.items()}
