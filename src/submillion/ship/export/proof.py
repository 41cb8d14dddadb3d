"""Runs an exported file on texts by its own runtime."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from submillion.model.infer import probabilities_of
from submillion.terminal.progress import ProgressOption, progress_bar

if TYPE_CHECKING:
    from submillion.ship.export.forms import ExportFile

BATCH = 32
"""Texts per call of a runtime; a batch holds texts of similar length."""


@dataclass(frozen=True)
class Answers:
    """What a file answered for N texts, and how fast."""

    probabilities: np.ndarray
    """float32 [N, C]."""
    runtime_version: str
    load_seconds: float
    """From opening the file to the first answer, of one batch; the runtime is imported before."""
    texts_per_second: float
    """Of text in and logits out, tokenization included, by batches of `BATCH` texts."""


def ask(file: ExportFile, folder: Path, texts: Sequence[str], progress: ProgressOption = False) -> Answers:
    """Open a file and classify texts.

    Args:
        file: of the registry.
        folder: of the export.
        texts: N texts, at least one.
        progress: show a bar on standard error.
    """
    order = np.argsort([-len(text) for text in texts], kind="stable")
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    # In one process only the first file of a runtime would pay for its import.
    opened = file.opener()
    started = time.perf_counter()
    session = opened(folder)
    session.logits([texts[row] for row in batches[-1]])
    load_seconds = time.perf_counter() - started
    answers: list[np.ndarray] = []
    started = time.perf_counter()
    with progress_bar(progress, len(texts), f"proving {file.path}") as advance:
        for batch in batches:
            answers.append(session.logits([texts[row] for row in batch]))
            advance(len(batch))
    seconds = time.perf_counter() - started
    logits = np.empty((len(texts), answers[0].shape[1]), np.float32)
    for batch, rows in zip(batches, answers, strict=True):
        logits[batch] = rows
    runtime_version = file.runtime_version or version(file.runtime)
    return Answers(probabilities_of(logits), runtime_version, load_seconds, len(texts) / max(seconds, 1e-9))
