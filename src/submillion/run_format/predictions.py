"""Saved predictions: one parquet file per split, with ids, text hashes, labels and every class's probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from submillion.atomic import atomic_file
from submillion.errors import BadInput, Problem


@dataclass(frozen=True)
class Predictions:
    """A classifier's predictions of one split: N rows, C classes."""

    ids: list[str]
    text_sha256: list[str]
    """sha256 of each text in utf-8, by which predictions are matched to texts."""
    labels: np.ndarray | None
    """Class index per row, int [N]; None for unlabelled rows."""
    predicted: np.ndarray
    """Predicted class per row, int [N], as the file has it: `verify` checks it against the probabilities."""
    probabilities: np.ndarray
    """float32 [N, C]."""
    label_names: list[str]
    """The C class names."""

    def __len__(self) -> int:
        return len(self.ids)

    def known_labels(self) -> np.ndarray:
        """Return the labels of labelled rows, int [N]; raises ValueError for unlabelled rows."""
        if self.labels is None:
            raise ValueError("expected labelled rows, found unlabelled ones")
        return self.labels

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        text_sha256: Sequence[str],
        labels: Sequence[int] | np.ndarray | None,
        probabilities: np.ndarray,
        label_names: Sequence[str],
    ) -> Predictions:
        """Return predictions whose predicted class is the most probable one, the first of a tie.

        Args:
            ids: N ids.
            text_sha256: sha256 of each text in utf-8 [N].
            labels: class index per row [N], or None for unlabelled rows.
            probabilities: [N, C]; rounded to float32 first, since metrics are computed from the saved values.
            label_names: the C class names.
        """
        rounded = probabilities.astype(np.float32)
        truth = None if labels is None else np.asarray(labels, dtype=np.int32)
        predicted = rounded.argmax(axis=1).astype(np.int32)
        return cls(list(ids), list(text_sha256), truth, predicted, rounded, list(label_names))

    def write(self, file: Path) -> None:
        """Write the columns id, text_sha256, label, predicted and p_<class> for every class."""
        columns: dict[str, Any] = {
            "id": pa.array(self.ids, pa.string()),
            "text_sha256": pa.array(self.text_sha256, pa.string()),
            "label": pa.array([None] * len(self) if self.labels is None else self.labels, pa.int32()),
            "predicted": pa.array(self.predicted, pa.int32()),
        }
        for index, name in enumerate(self.label_names):
            columns[f"p_{name}"] = pa.array(self.probabilities[:, index])
        with atomic_file(file) as temporary:
            pq.write_table(pa.table(columns), temporary)

    @classmethod
    def read(cls, file: Path) -> Predictions:
        """Read what `write` wrote.

        Raises:
            BadInput: there is no such file.
        """
        if not file.is_file():
            expected = f"saved predictions of '{file.stem}'"
            raise BadInput(Problem(str(file), expected, "no such file", "Finish the run with `resume`."))
        table = pq.read_table(file)
        names = [name for name in table.column_names if name.startswith("p_")]
        labelled = table["label"].null_count == 0
        return cls(
            ids=table["id"].to_pylist(),
            text_sha256=table["text_sha256"].to_pylist(),
            labels=table["label"].to_numpy() if labelled else None,
            predicted=table["predicted"].to_numpy(),
            probabilities=np.stack([table[name].to_numpy() for name in names], axis=1),
            label_names=[name.removeprefix("p_") for name in names],
        )
