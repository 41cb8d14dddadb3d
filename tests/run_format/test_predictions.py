"""Tests of saved predictions: what is written is read again, and what cannot be predictions is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from submillion.errors import BadInput
from submillion.run_format.predictions import Predictions

NAMES = ["a.b", "p_", "c,\n"]


def columns(**changes: Any) -> dict[str, Any]:
    """Return the columns of two predicted rows."""
    values: dict[str, Any] = {
        "id": ["1", "2"],
        "text_sha256": ["ab" * 32, "cd" * 32],
        "label": pa.array([0, 2], pa.int32()),
        "predicted": pa.array([0, 1], pa.int32()),
        "p_a": pa.array([0.5, 0.25], pa.float32()),
        "p_b": pa.array([0.25, 0.5], pa.float32()),
        "p_c": pa.array([0.25, 0.25], pa.float32()),
    } | changes
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize("labels", [[0, 2], None])
@pytest.mark.parametrize("rows", [2, 0])
def test_what_is_written_is_read_again(tmp_path: Path, labels: list[int] | None, rows: int) -> None:
    probabilities = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])[:rows]
    hashes = ["ab" * 32, "cd" * 32][:rows]
    labels = labels if labels is None else labels[:rows]
    written = Predictions.of(["1", "2"][:rows], hashes, labels, probabilities, NAMES)
    written.write(tmp_path / "test.parquet")
    read = Predictions.read(tmp_path / "test.parquet")
    assert (read.ids, read.text_sha256, read.label_names) == (written.ids, written.text_sha256, NAMES)
    np.testing.assert_array_equal(read.probabilities, written.probabilities)
    np.testing.assert_array_equal(read.predicted, written.predicted)
    if rows:
        assert read.labels is None if labels is None else list(read.known_labels()) == labels


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": None}, "expected a column 'id'"),
        ({"id": pa.array([1, 2])}, "expected 'id' as string, found int64"),
        ({"p_a": None, "p_b": None, "p_c": None}, "expected a column p_CLASS for every class"),
        ({"p_a": pa.array([0.5, 0.25], pa.float64())}, "expected 'p_a' as float, found double"),
        ({"p_a": pa.array([[0.5], [0.25]])}, "expected 'p_a' as float, found list"),
        (
            {"p_a": pa.array([np.nan, 0.25], pa.float32())},
            "row 1: expected probabilities from 0 to 1, found nan, 0.25",
        ),
        ({"p_a": pa.array([0.5, np.inf], pa.float32())}, "row 2: expected probabilities from 0 to 1"),
        ({"p_a": pa.array([-0.5, 0.25], pa.float32())}, "row 1: expected probabilities from 0 to 1"),
        (
            {"p_a": pa.array([0.5, 0.5], pa.float32())},
            "row 2: expected probabilities that sum to 1, found 1.25",
        ),
        ({"p_a": pa.array([0.5, None], pa.float32())}, "expected a value of 'p_a' in every row"),
        ({"label": pa.array([0, 3], pa.int32())}, "row 2: expected 'label' from 0 to 2, found 3"),
        ({"label": pa.array([0, None], pa.int32())}, "expected a label in every row or in none"),
        ({"predicted": pa.array([-1, 0], pa.int32())}, "row 1: expected 'predicted' from 0 to 2, found -1"),
        ({"text_sha256": pa.array(["ab" * 32, None])}, "expected a value of 'text_sha256' in every row"),
    ],
)
def test_what_cannot_be_predictions_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = tmp_path / "test.parquet"
    pq.write_table(pa.table(columns(**changes)), file)
    with pytest.raises(BadInput) as error:
        Predictions.read(file)
    assert message in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all"])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "test.parquet"
    file.write_bytes(content)
    with pytest.raises(BadInput, match="expected a readable parquet file"):
        Predictions.read(file)
