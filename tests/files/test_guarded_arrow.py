"""Broken arrow and parquet files end in a message, never in a crash; batches stay small whatever a file claims."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from submillion.data.readers import iter_texts, read_rows
from submillion.errors import BadInput
from submillion.files import guarded_arrow

TABLE = pa.table({"text": ["one", "two", "three"], "label": ["a", "b", "a"]})


def write_arrow(path: Path, table: Any, stream: bool) -> bytearray:
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(path), table.schema) as writer:
        writer.write_table(table)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("offset", [-(2**31), -1, 100, 1_701_929_825])
def test_false_offsets_are_found_before_a_value_is_read(tmp_path: Path, stream: bool, offset: int) -> None:
    path = tmp_path / "rows.arrow"
    content = write_arrow(path, TABLE, stream)
    offsets = b"".join(number.to_bytes(4, "little") for number in (0, 3, 6, 11))
    place = content.index(offsets) + 8
    content[place : place + 4] = offset.to_bytes(4, "little", signed=True)
    path.write_bytes(content)
    with pytest.raises(
        BadInput, match=r"rows\.arrow: expected a readable arrow file, found one that is not \(Arrow"
    ):
        read_rows([path])


@pytest.mark.parametrize("form", ["stream", "parquet"])
def test_no_changed_byte_ends_the_process(tmp_path: Path, form: str) -> None:
    """Every byte of a small file becomes 0 and 255; in a process apart, so that a crash is seen as one."""
    path = tmp_path / ("rows.parquet" if form == "parquet" else "rows.arrow")
    if form == "parquet":
        pq.write_table(TABLE, path)
    else:
        write_arrow(path, TABLE, form == "stream")
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from submillion import errors\nfrom submillion.files import guarded_arrow\n"
        "path = Path(sys.argv[1]); content = path.read_bytes(); read = refused = 0\n"
        "schema, batches = (guarded_arrow.parquet_schema, guarded_arrow.parquet_batches) if path.suffix == '.parquet'"
        " else (guarded_arrow.arrow_schema, guarded_arrow.arrow_batches)\n"
        "for place in range(len(content)):\n"
        "    for value in (0, 255):\n"
        "        changed = bytearray(content); changed[place] = value; path.write_bytes(changed)\n"
        "        try:\n"
        "            names = [name for name in schema(path).names if name in ('text', 'label')]\n"
        "            [column.to_pylist() for batch in batches(path, names) for column in batch.columns]; read += 1\n"
        "        except errors.BadInput: refused += 1\n"
        "print(read, refused)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-500:]
    read, refused = map(int, done.stdout.split())
    assert read > 100 and refused > 100


def test_a_long_value_that_many_rows_share_makes_small_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.parquet"
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 500, pa.int32()), pa.array(["x" * 100_000]))
    pq.write_table(pa.table({"text": shared}), path)
    monkeypatch.setattr(guarded_arrow, "BATCH_BYTES", 1_000_000)
    assert {batch.num_rows for batch in guarded_arrow.parquet_batches(path, ["text"])} == {9, 5}
    monkeypatch.setattr("submillion.data.readers.LEAST", 1_000_000)
    with pytest.raises(BadInput, match="texts of at most 200 times the size of the file"):
        list(iter_texts(path))


def test_columns_that_expand_beyond_all_measure_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.parquet"
    texts = ["x" * 1000 + str(row) for row in range(2000)]
    pq.write_table(pa.table({"text": texts}), path, compression="zstd", use_dictionary=False)
    assert len(list(guarded_arrow.parquet_batches(path, ["text"]))) == 2
    monkeypatch.setattr(guarded_arrow, "LEAST", 1000)
    monkeypatch.setattr(guarded_arrow, "EXPANSION", 2)
    with pytest.raises(BadInput, match=r"columns of at most 2 times the size of the file"):
        list(guarded_arrow.parquet_batches(path, ["text"]))


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_rows_without_bytes_are_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"rows.{form}"
    table = pa.table({"text": pa.nulls(1_000_001), "label": pa.nulls(1_000_001)})
    if form == "parquet":
        pq.write_table(table, path)
    else:
        write_arrow(path, table, stream=True)
    with pytest.raises(BadInput, match="found a claim of 1,000,001 rows"):
        list(iter_texts(path))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (b"\xff{", "text in utf-8"),
        (b"[" * 100_000, "at most 64 levels of lists and objects"),
        (b'"text"', "the object info.features"),
        (b'{"info": 7}', "the object info.features"),
        (b'{"info": {"features": []}}', "the object info.features"),
        (
            b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": "ab"}}}}',
            "a list of class names",
        ),
        (
            b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": [1, 2]}}}}',
            "a list of class names",
        ),
        (b'{"info": {"features": {"label": {"_type": "ClassLabel"}}}}', "a list of class names"),
    ],
)
def test_metadata_of_datasets_is_checked(tmp_path: Path, metadata: bytes, message: str) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE.replace_schema_metadata({b"huggingface": metadata}), path)
    with pytest.raises(BadInput, match=rf"rows\.parquet, metadata 'huggingface': expected .*{message}"):
        read_rows([path])


def test_metadata_of_datasets_without_classes_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    facts = {"info": {"features": {"text": {"_type": "Value"}, "label": [{"_type": "Value"}]}}}
    pq.write_table(TABLE.replace_schema_metadata({b"huggingface": json.dumps(facts).encode()}), path)
    assert read_rows([path]).labels == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (pa.array([1, 2, 1], pa.decimal128(5, 0)), ["1", "2", "1"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([["a"], ["b"], ["a"]]), ["a", "b", "a"]),
        (pa.array([True, False, True]), ["true", "false", "true"]),
        (pa.array([1.0, 0.0, 1.0]), ["1", "0", "1"]),
        (pa.array(["a", "b", "a"], pa.string_view()), ["a", "b", "a"]),
        (
            pa.array([["a", "b"], ["b"], ["a"]]),
            "row 1: expected one class in column 'label', found several classes",
        ),
        (pa.array([b"a", b"b", b"a"]), ["a", "b", "a"]),
        (
            pa.array([b"\xff", b"b", b"\xff"]),
            r"rows 1, 3: expected a label in column 'label', found b'\\xff'",
        ),
        (pa.array([{"x": 1}] * 3), "rows 1, 2, 3: expected a label in column 'label'|expected one class|'1'"),
        (pa.array([None] * 3, pa.string()), "expected labels in column 'label', found none in any row"),
    ],
)
def test_labels_of_every_type(tmp_path: Path, column: Any, labels: list[str] | str) -> None:
    path = tmp_path / "rows.arrow"
    write_arrow(path, pa.table({"text": ["one", "two", "three"], "label": column}), stream=True)
    if isinstance(labels, list):
        assert read_rows([path]).labels == labels
        return
    if pa.types.is_struct(column.type):
        assert read_rows([path]).labels == ["x"] * 3  # as spaCy writes classes: {name: 1}
        return
    with pytest.raises(BadInput, match=labels):
        read_rows([path])


def test_decimals_that_python_cannot_represent_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    label = pa.array([1, 2, 3], pa.decimal128(9, 1))
    content = write_arrow(path, pa.table({"text": ["one", "two", "three"], "label": label}), stream=True)
    place = content.index((10).to_bytes(16, "little"))
    content[place : place + 16] = b"\xff" * 15 + b"\x7f"  # far beyond nine digits
    path.write_bytes(content)
    with pytest.raises(BadInput, match="rows.arrow: expected"):
        read_rows([path])


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_dates_are_texts(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "rows.arrow"
    table = TABLE.append_column("date", pa.array([1, 2**62 if unit == "ns" else 2, None], pa.timestamp(unit)))
    write_arrow(path, table, stream=False)
    assert read_rows([path], extra=["date"]).extra["date"][0].startswith("1970-01-01 00:00:0")
