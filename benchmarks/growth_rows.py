"""What a training of N texts keeps in memory: the real data, tokens, feed and steps, looked at station by station."""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks.apart import Failed, apart
from benchmarks.harness import Setting, say
from benchmarks.many import write_rows

if TYPE_CHECKING:
    from submillion.data.corpus import Corpus
    from submillion.data.tokens import Tokens
    from submillion.fit.batch_schedule import BatchSchedule

STEPS = 2  # the first one has the longest texts


def measure_rows(setting: Setting, sizes: list[int]) -> list[dict[str, Any]]:
    """Return a row per number of texts.

    Returns:
        Per number `value` (texts), `peak_rss_mb` (of the process, MB of 10^6 bytes), `rss_mb` and `seconds` by
        station, `held_bytes_per_text` (by what holds them) and `peak_bytes_per_text` (what each text beyond those
        of the row before has added to the peak; None in the first row); or `value` and `error`.
    """
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="growth-") as folder:
        file = Path(folder) / "train.csv"
        for size in sizes:
            try:
                apart(write_rows, setting.data, file, size)
                found = apart(_look, setting, file)
            except Failed as error:
                say(f"{size:,} texts: {error}")
                rows.append({"value": size, "error": str(error)})
                continue
            whole = [row for row in rows if "error" not in row]
            slope = None
            if whole:
                more = found["peak_rss_mb"] - whole[-1]["peak_rss_mb"]
                slope = 1e6 * more / (size - whole[-1]["value"])
            rows.append({"value": size, **found, "peak_bytes_per_text": slope})
            say(f"{size:,} texts: peak {found['peak_rss_mb']:,.0f} MB")
    return rows


def _look(setting: Setting, file: Path) -> dict[str, Any]:
    """Do what `submillion train` does as far as its first steps; run in a process of its own."""
    began = time.perf_counter()
    import psutil

    from benchmarks.library import recipe_of, set_up_process
    from submillion import environment, notices
    from submillion.data.corpus import load_corpus
    from submillion.data.tokens import load_tokenizer, tokenize
    from submillion.fit.interrupt import Interrupt
    from submillion.fit.labelled_tokens import LabelledTokens
    from submillion.fit.step import Stepper
    from submillion.fit.workers import Workers
    from submillion.model.classifier import build
    from submillion.model.execution.choose import choose_execution
    from submillion.model.precision import choose_precision

    rss: dict[str, float] = {}
    seconds: dict[str, float] = {}

    def station(name: str) -> None:
        nonlocal began
        rss[name] = psutil.Process().memory_info().rss / 1e6
        seconds[name] = time.perf_counter() - began
        began = time.perf_counter()

    recipe = recipe_of(setting, "auto")
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": str(file)})})
    set_up_process()
    workers = Workers.start()
    station("imports")
    with notices.suppressed():
        corpus = load_corpus(recipe.data, recipe.seed, progress=False)
        station("data")
        precision = choose_precision(recipe.train.precision)
        classifier = build(setting.encoder, corpus.label_names, recipe)
        execution = choose_execution(classifier, precision, recipe.train.execution)
        station("model")
    with TemporaryDirectory(prefix="tokens-") as folder, mock.patch.dict(os.environ, SUBMILLION_CACHE=folder):
        tokenizer = load_tokenizer(setting.encoder)
        tokens = {
            split.name: tokenize(tokenizer, split.texts, recipe.data.max_length, progress=False)
            for split in corpus.splits
        }
    station("tokens")
    train = LabelledTokens.of(tokens["train"], corpus.train.labels)
    stepper = Stepper(execution, train, recipe.train, recipe.seed, workers)
    stepper.batches.batches_at(0)
    station("feed")
    classifier.train()
    interrupt = Interrupt()
    for step in range(min(STEPS, stepper.batches.steps_per_epoch)):
        stepper.step(step, interrupt)
    station("steps")
    return {
        "peak_rss_mb": environment.peak_memory_mb(),
        "rss_mb": rss,
        "seconds": seconds,
        "execution": execution.name,
        "tokens_per_text": float(tokens["train"].lengths.mean()),
        "held_bytes_per_text": _held(corpus, tokens, stepper.batches),
    }


def _held(corpus: Corpus, tokens: dict[str, Tokens], batches: BatchSchedule) -> dict[str, float]:
    """Return what each of the corpus's texts takes from the first step to the last, by holder, in bytes.

    Of a mapped file only those pages are in memory that were read lately, and the system takes them as it needs.
    """
    from submillion.data.text_column import TextColumn

    texts = sum(len(split) for split in corpus.splits)
    pointer = 8  # of a list, to each of its items
    held = {
        "places_of_texts_and_ids": sum(
            column.nbytes
            for split in corpus.splits
            for column in (split.texts, split.ids)
            if isinstance(column, TextColumn)
        ),
        # Small integers are shared by all who use them.
        "labels": sum(pointer * len(split.labels) for split in corpus.splits),
        "token_ids_in_a_file": sum(found.ids.nbytes for found in tokens.values()),
        "offsets_and_lengths": sum(
            found.offsets.nbytes + found.full_lengths.nbytes for found in tokens.values()
        ),
        "batches_of_an_epoch": sum(
            batch.nbytes for step in range(batches.steps_per_epoch) for batch in batches.batches_at(step)
        ),
    }
    return {name: size / texts for name, size in held.items()}
