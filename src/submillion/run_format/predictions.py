"""Saved predictions: one parquet file per split, with ids, text hashes, labels and every class's probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from submillion.errors import BadInput, Problem
from submillion.files.atomic import atomic_file
from submillion.files.guarded_arrow import parquet_batches, parquet_schema
from submillion.run_layout import FINISH
from submillion.wording import excerpt

PREFIX = "p_"
"""Of the names of the columns with probabilities."""
COLUMNS = {"id": pa.string(), "text_sha256": pa.string(), "label": pa.int32(), "predicted": pa.int32()}
SUM_TOLERANCE = 1e-3  # float32 of a thousand classes sum to 1 within 1e-4
MOST_SHOWN = 8
"""Columns or values in a message."""


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

        The predicted class may be another than the most probable one: `verify` reports that.

        Raises:
            BadInput: there is no such file, or its columns are not those of predictions: texts as ids and hashes,
                classes that exist, probabilities that are finite and sum to 1.
        """
        if not file.is_file():
            expected = f"saved predictions of '{file.stem}'"
            raise BadInput(Problem(str(file), expected, "no such file", FINISH))
        names = _columns_of(file)
        batches = list(parquet_batches(file, [*COLUMNS, *names]))
        table = pa.Table.from_batches(batches, parquet_schema(file) if not batches else None)
        for name in ("id", "text_sha256", "predicted", *names):
            if missing := table[name].null_count:
                raise _broken(file, f"a value of '{name}' in every row", f"none in {missing:,}")
        probabilities = np.stack([table[name].to_numpy() for name in names], axis=1)
        _check_probabilities(file, probabilities)
        predicted = table["predicted"].to_numpy()
        _check_classes(file, "predicted", predicted, len(names))
        labels, unlabelled = None, table["label"].null_count
        if not unlabelled:
            labels = table["label"].to_numpy()
            _check_classes(file, "label", labels, len(names))
        elif unlabelled < table.num_rows:
            raise _broken(file, "a label in every row or in none", f"none in {unlabelled:,}")
        return cls(
            ids=table["id"].to_pylist(),
            text_sha256=table["text_sha256"].to_pylist(),
            labels=labels,
            predicted=predicted,
            probabilities=probabilities,
            label_names=[name.removeprefix(PREFIX) for name in names],
        )


def _columns_of(file: Path) -> list[str]:
    """Return the names of the columns with probabilities; refuses a file with other columns or types."""
    schema = parquet_schema(file)
    if len(set(schema.names)) < len(schema.names):
        raise _broken(file, "every column once", f"{', '.join(schema.names[:MOST_SHOWN])}")
    names = [name for name in schema.names if name.startswith(PREFIX)]
    if not names:
        raise _broken(
            file, f"a column {PREFIX}CLASS for every class", f"{', '.join(schema.names[:MOST_SHOWN])}"
        )
    for name, kind in {**COLUMNS, **dict.fromkeys(names, pa.float32())}.items():
        if name not in schema.names:
            raise _broken(file, f"a column '{name}'", f"{', '.join(schema.names[:MOST_SHOWN])}")
        if schema.field(name).type != kind:
            raise _broken(file, f"'{name}' as {kind}", f"{schema.field(name).type}")
    return names


def _check_probabilities(file: Path, probabilities: np.ndarray) -> None:
    if not len(probabilities):
        return
    if not np.isfinite(probabilities).all() or probabilities.min() < 0 or probabilities.max() > 1:
        row = int(np.argmax(~((probabilities >= 0) & (probabilities <= 1)).all(axis=1)))
        found = ", ".join(f"{value:g}" for value in probabilities[row, :MOST_SHOWN])
        raise _broken(file, "probabilities from 0 to 1", found, row)
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if (off := np.abs(sums - 1) > SUM_TOLERANCE).any():
        row = int(np.argmax(off))
        raise _broken(file, "probabilities that sum to 1", f"{sums[row]:g}", row)


def _check_classes(file: Path, name: str, classes: np.ndarray, count: int) -> None:
    if (off := (classes < 0) | (classes >= count)).any():
        row = int(np.argmax(off))
        raise _broken(file, f"'{name}' from 0 to {count - 1}", f"{classes[row]}", row)


def _broken(file: Path, expected: str, found: str, row: int | None = None) -> BadInput:
    where = str(file) if row is None else f"{file}, row {row + 1}"
    return BadInput(
        Problem(where, expected, excerpt(found, 200), "Score the run again with `evaluate` or `resume`.")
    )
