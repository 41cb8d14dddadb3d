"""Runs an exported file on texts by its own runtime, and compares its answers with those of the run."""

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
    """From opening the file to the first answer, of one batch."""
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
    started = time.perf_counter()
    session = file.open(folder)
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


@dataclass(frozen=True)
class Agreement:
    """How far a file's answers are those of the run; counts of rows."""

    rows: int
    same_class: int
    labelled: int
    file_right: int
    """Labelled rows that the file classifies correctly."""
    run_right: int
    only_file_right: int
    only_run_right: int
    max_probability_difference: float

    @classmethod
    def of(cls, file: np.ndarray, run: np.ndarray, labels: np.ndarray) -> Agreement:
        """Compare probabilities.

        Args:
            file: of the file [N, C].
            run: of the run [N, C].
            labels: class per row [N], -1 for a row without a label.
        """
        by_file, by_run = file.argmax(axis=1), run.argmax(axis=1)
        known = labels >= 0
        right, right_in_run = known & (by_file == labels), known & (by_run == labels)
        differences = np.abs(file.astype(np.float64) - run.astype(np.float64))
        return cls(
            rows=len(labels),
            same_class=int((by_file == by_run).sum()),
            labelled=int(known.sum()),
            file_right=int(right.sum()),
            run_right=int(right_in_run.sum()),
            only_file_right=int((right & ~right_in_run).sum()),
            only_run_right=int((right_in_run & ~right).sum()),
            # Not numpy's maximum of nothing, and NaN where a runtime gave one.
            max_probability_difference=float(differences.max()) if len(labels) else 0.0,
        )
