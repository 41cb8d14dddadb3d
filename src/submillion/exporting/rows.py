"""The rows that an export is proven on, with the run's own answers, and the training texts that calibrate it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from submillion.assess.run_context import RunContext
from submillion.data.batches import permutation
from submillion.errors import BadInput, Problem
from submillion.run_format.export import Calibration, ComparedRows, Reference
from submillion.run_format.splits import SCORED_SPLITS

CALIBRATION_ROWS = 300
"""nncf's default number of samples."""
CALIBRATION_STREAM = 7
"""Of the random numbers of a run's seed."""
SAVED, NOW = "saved predictions", "predicted at the export"


@dataclass(frozen=True)
class Rows:
    """Rows of one split with the run's own answers: N rows, C classes."""

    texts: Sequence[str]
    labels: np.ndarray
    """Class per row [N], -1 for a row without a label."""
    probabilities: np.ndarray
    """Of the run [N, C]."""
    source: str


@dataclass(frozen=True)
class Joined:
    """The rows of all splits, one split after the other: N rows, C classes."""

    texts: list[str]
    labels: np.ndarray
    """Class per row [N], -1 for a row without a label."""
    probabilities: np.ndarray
    """Of the run [N, C]."""
    splits: np.ndarray
    """Name of the split of each row [N]."""

    @classmethod
    def of(cls, rows: Mapping[str, Rows]) -> Joined:
        """Join the rows of splits."""
        parts = rows.values()
        return cls(
            [text for part in parts for text in part.texts],
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
            np.repeat(list(rows), [len(part.texts) for part in parts]),
        )


def rows_of(context: RunContext) -> dict[str, Rows]:
    """Return the rows that every file is proven on, by split.

    Raises:
        BadInput: the run has saved no predictions, or its data is missing or has changed.
    """
    present = context.run.prediction_splits()
    rows = {}
    for split in [name for name in SCORED_SPLITS if name in present]:
        saved = context.predictions(split)
        if not len(saved):
            continue
        texts = context.texts(split)
        labels = np.full(len(saved), -1) if saved.labels is None else saved.labels
        if split == "validation" and context.cross_validated:
            rows["train"] = Rows(texts, labels, context.probabilities(texts), NOW)
        else:
            rows[split] = Rows(texts, labels, saved.probabilities, SAVED)
    if not rows:
        found = "none: no file of an export could be proven"
        remedy = ""
        if context.adopted:
            remedy = "Adopt it again with labelled texts: `submillion adopt ADAPTER --out RUN --data FILE`."
        raise BadInput(
            Problem(str(context.run.path), "a run with predictions of validation or test rows", found, remedy)
        )
    return rows


def calibration_of(context: RunContext) -> tuple[list[str], Calibration]:
    """Draw training texts with the run's seed; never validation or test rows."""
    order = permutation(len(context.train), context.seed, 0, CALIBRATION_STREAM)
    drawn = np.sort(order[:CALIBRATION_ROWS])
    hashes = "".join(context.train.text_sha256(int(row)) for row in drawn)
    texts = [context.train.texts[row] for row in drawn]
    digest = hashlib.sha256(hashes.encode()).hexdigest()
    return texts, {"rows": len(texts), "seed": context.seed, "sha256": digest}


def counted(rows: Mapping[str, Rows]) -> dict[str, ComparedRows]:
    """Return the number of rows of each split and the source of the run's answers, for the record."""
    return {split: {"rows": len(part.texts), "source": part.source} for split, part in rows.items()}


def reference_of(context: RunContext, rows: Joined) -> Reference:
    """Let the run classify all rows once, and return its speed and accuracy, to be compared with those of the files."""
    texts = rows.texts
    context.opened.probabilities(texts[:1], 1)
    started = time.perf_counter()
    context.probabilities(texts)
    seconds = time.perf_counter() - started
    return {
        "execution": context.opened.execution.name,
        "texts_per_second": round(len(texts) / max(seconds, 1e-9), 2),
        "accuracy": accuracy_of(rows),
    }


def accuracy_of(rows: Joined) -> float | None:
    """Return the accuracy of the run's own answers; None without a labelled row."""
    right = rows.probabilities.argmax(axis=1) == rows.labels
    known = rows.labels >= 0
    return float(right[known].mean()) if known.any() else None
