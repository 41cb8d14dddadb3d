"""The record of an export: what each file answers on the rows, compared with the run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from submillion import environment
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.agreement import agreement
from submillion.cache import sha256_of
from submillion.data.batches import permutation
from submillion.exporting.rows import Joined, Rows, counted, reference_of
from submillion.exporting.thresholds import thresholds_of
from submillion.model import head_file
from submillion.model.loading import quiet_libraries
from submillion.report.card import metadata, text_columns
from submillion.run_format.export import (
    FORMAT_VERSION,
    Calibration,
    ExportRecord,
    FileRecord,
    RunFacts,
    RunHashes,
)
from submillion.run_format.splits import SCORED_SPLITS
from submillion.ship.export.forms import SAMPLE_ROWS, ExportFile, Form
from submillion.ship.export.proof import BATCH, ask
from submillion.ship.export.source import ExportSource
from submillion.sources.adapter_files import HEAD
from submillion.terminal.progress import ProgressOption
from submillion.version import __version__

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def proven(
    form: Form, file: ExportFile, folder: Path, rows: Mapping[str, Rows], progress: ProgressOption = False
) -> FileRecord:
    """Return the record of a written file: what its runtime answers on the rows, compared with the run.

    Of a file with a twin, the twin answers every row and the runtime a sample, always the same one.

    Args:
        form: of the file.
        file: of the registry.
        folder: of the export.
        rows: rows by split.
        progress: show a bar on standard error.
    """
    every = Joined.of(rows)
    chosen = np.arange(len(every.texts))
    if file.twin is not None:
        chosen = np.sort(permutation(len(chosen), 0, 0)[:SAMPLE_ROWS])
    own = ask(file, folder, [every.texts[row] for row in chosen], progress)
    answers = own if file.twin is None else ask(file.twin, folder, every.texts, progress)
    labels, of_run, splits = every.labels, every.probabilities, every.splits
    parts = {name: sha256_of(folder / name) for name in file.parts if (folder / name).is_file()}
    return {
        "form": form.name,
        "runtime": file.runtime,
        "runtime_version": own.runtime_version,
        "sha256": sha256_of(folder / file.path),
        "parts": parts,
        "size_bytes": sum((folder / name).stat().st_size for name in (file.path, *parts)),
        "load_seconds": round(own.load_seconds, 4),
        "texts_per_second": round(own.texts_per_second, 2),
        "batch_size": BATCH,
        "processor": environment.processor(),
        "answered_by": f"{(file.twin or file).runtime} {answers.runtime_version}",
        **agreement(answers.probabilities, of_run, labels),
        "by_split": {
            split: agreement(
                answers.probabilities[splits == split], of_run[splits == split], labels[splits == split]
            )
            for split in rows
            if (splits == split).any()
        },
        "sample": None if file.twin is None else agreement(own.probabilities, of_run[chosen], labels[chosen]),
    }


def hashes_of(context: RunContext) -> RunHashes:
    """Return the hashes of the files that decide a run's predictions, of the predictions, and of its encoder."""
    run = context.run
    predicted = [run.prediction_file(split) for split in SCORED_SPLITS if split in run.prediction_splits()]
    return {
        "files": run.hashes(run.recipe, run.adapter, run.tokenizer),
        "predictions": run.hashes(*predicted),
        "encoder": dict(context.manifest["encoder"]["sha256"]),
    }


def facts_of(context: RunContext) -> RunFacts:
    """Return what a record says about its run, read from the run alone."""
    recipe, head = context.recipe, context.run.adapter / HEAD
    return {
        "metadata": metadata(dict(context.manifest), {}, "transformers"),
        "run": {
            "name": context.manifest["name"],
            **hashes_of(context),
            "encoder_licence": context.manifest["encoder"].get("licence"),
            "data_licence": None if context.adopted else context.manifest["data"].get("licence"),
        },
        "labels": context.labels,
        "max_length": recipe.data.max_length,
        "windows": recipe.data.windows,
        "pooling": "mean" if head.is_file() else "first",
        "normalize": head.is_file() and head_file.normalizes(head),
        "text_columns": text_columns(dict(context.manifest)),
        "thresholds": thresholds_of(context.run),
    }


def count_longer(tokenizer: PreTrainedTokenizerFast, texts: list[str], max_length: int) -> int:
    """Return how many texts have more tokens than are read of them."""
    with quiet_libraries():  # transformers warns of texts beyond the tokenizer's length
        return sum(len(ids) > max_length for ids in tokenizer(texts)["input_ids"])


def begun(
    context: RunContext,
    source: ExportSource,
    rows: Mapping[str, Rows],
    calibration: Calibration | None,
    max_loss: float,
) -> ExportRecord:
    """Return the record of an export without its files; the run answers all rows once, to measure its own speed."""
    every = Joined.of(rows)
    return {
        "format_version": FORMAT_VERSION,
        "submillion": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts_of(context),
        "longer_rows": count_longer(source.tokenizer, every.texts, context.recipe.data.max_length),
        "max_loss": max_loss,
        "compared": counted(rows),
        "reference": reference_of(context, every),
        "calibration": calibration,
        "files": {},
        "removed": {},
        "common": {},
    }
