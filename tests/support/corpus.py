"""A run with given rows and predictions, without encoder or adapter, for analyses that need no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from submillion.assess.run_context import RunContext
from submillion.data.corpus import Corpus, Split
from submillion.run_format.manifest import FORMAT
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir

Labelled = tuple[Sequence[str], Sequence[int]]


def context_of(
    home: Path, names: Sequence[str], rows: Mapping[str, Labelled], answers: Sequence[int] | np.ndarray
) -> RunContext:
    """Return a run that made the given predictions for the rows of its last split.

    Args:
        home: folder of the run.
        names: class names.
        rows: texts and labels by split: train, validation and optionally test.
        answers: a class per row, which gets probability 0.9, or all probabilities [N, C].
    """
    splits = {
        name: Split(name, [f"{name}-{row}" for row in range(len(texts))], list(texts), list(labels))
        for name, (texts, labels) in rows.items()
    }
    run = RunDir.create(home / "run")
    run.write_json(run.manifest, {"format": FORMAT, "name": "made", "seed": 42, "labels": list(names)})
    last = list(splits.values())[-1]
    probabilities = np.asarray(answers)
    if probabilities.ndim == 1:
        given = probabilities.astype(int)
        probabilities = np.full((len(given), len(names)), 0.1 / max(len(names) - 1, 1))
        probabilities[np.arange(len(given)), given] = 0.9
    hashes = [last.text_sha256(row) for row in range(len(last))]
    run.save_predictions(last.name, Predictions.of(last.ids, hashes, last.labels, probabilities, names))
    return RunContext(run, Corpus(splits["train"], splits["validation"], splits.get("test"), list(names), {}))
