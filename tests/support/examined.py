"""A run under examination: a tiny run with made texts and predictions, and the context that the parts read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from submillion.assess.run_context import RunContext
from submillion.data.corpus import Corpus, Split
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from support.tiny import tiny_texts
from support.tiny_run import NAMES, tiny_run


def split_of(
    name: str, texts: list[str], labels: list[int], extra: dict[str, list[str]] | None = None
) -> Split:
    return Split(name, [f"{name}-{row}" for row in range(len(texts))], texts, labels, extra or {})


def examined(
    home: Path,
    test: tuple[list[str], list[int]],
    probabilities: Any,
    train: tuple[list[str], list[int]] | None = None,
) -> RunContext:
    """Return the context of a run in `home` with these test rows and what was predicted for them [N, C]."""
    run, _ = tiny_run(home)
    return again(run, test, probabilities, train)


def again(
    run: RunDir,
    test: tuple[list[str], list[int]],
    probabilities: Any,
    train: tuple[list[str], list[int]] | None = None,
    extra: dict[str, list[str]] | None = None,
) -> RunContext:
    """Put other test rows, with the values of further columns, into a run."""
    run.update_manifest(seed=42)
    split = split_of("test", *test, extra)
    hashes = [split.text_sha256(row) for row in range(len(split))]
    values = np.asarray(probabilities, dtype=np.float32).reshape(len(split), len(NAMES))
    run.save_predictions("test", Predictions.of(split.ids, hashes, split.labels, values, NAMES))
    learnt = split_of("train", *(train or tiny_texts(20)))
    return RunContext(run, corpus=Corpus(learnt, split_of("validation", [], []), split, NAMES, {}))


def spread(predicted: list[int], confidence: list[float], second: list[int] | None = None) -> np.ndarray:
    """Return probabilities [N, 4]: the answer's, then most of the rest for the second choice."""
    rows = np.arange(len(predicted))
    values = np.tile(((1 - np.array(confidence)) / 8)[:, None], (1, len(NAMES)))
    if second is None:
        second = [(answer + 1) % len(NAMES) for answer in predicted]
    values[rows, second] *= 6
    values[rows, predicted] = confidence
    return values
