"""The size that arrow's metadata claims is the size that its columns have when they are decompressed."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pytest

from submillion.data.readers import iter_texts
from submillion.errors import BadInput
from submillion.files import guarded_arrow
from submillion.files.arrow_sizes import decompressed_size

ROWS = 500
TABLE = pa.table(
    {
        "text": ["x" * 1000] * ROWS,
        "label": pa.array(["a", "b"] * (ROWS // 2)).dictionary_encode(),
        "list": [[1, 2]] * ROWS,
        "null": pa.nulls(ROWS),
    }
)


def write(path: Path, stream: bool, compression: str | None, chunk: int) -> Path:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(
        str(path), TABLE.schema, options=options
    ) as writer:
        writer.write_table(TABLE, max_chunksize=chunk)
    return path


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("chunk", [70, ROWS])
def test_every_buffer_is_counted(tmp_path: Path, stream: bool, compression: str, chunk: int) -> None:
    size = decompressed_size(write(tmp_path / "rows.arrow", stream, compression, chunk))
    assert TABLE.nbytes <= size < TABLE.nbytes + 200 * (ROWS // chunk + 1)


@pytest.mark.parametrize("stream", [False, True])
def test_files_without_compression_have_nothing_to_decompress(tmp_path: Path, stream: bool) -> None:
    assert decompressed_size(write(tmp_path / "rows.arrow", stream, None, 70)) == 0


def test_files_of_other_writers_are_counted(tmp_path: Path) -> None:
    feather.write_feather(TABLE, str(tmp_path / "rows.feather"))
    assert decompressed_size(tmp_path / "rows.feather") >= TABLE.nbytes
    old: Any = pa.ipc.IpcWriteOptions(use_legacy_format=True, metadata_version=pa.ipc.MetadataVersion.V4)
    with pa.ipc.new_stream(str(tmp_path / "old.arrow"), TABLE.schema, options=old) as writer:
        writer.write_table(TABLE)
    assert decompressed_size(tmp_path / "old.arrow") == 0


def test_columns_that_decompress_beyond_all_measure_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "rows.arrow", True, "zstd", ROWS)
    assert sum(len(texts) for _, texts in iter_texts(path)) == ROWS
    monkeypatch.setattr(guarded_arrow, "LEAST", 1000)
    monkeypatch.setattr(guarded_arrow, "EXPANSION", 2)
    with pytest.raises(BadInput, match="columns of at most 2 times the size of the file"):
        list(iter_texts(path))


def test_metadata_that_leads_out_of_the_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.arrow", True, "zstd", ROWS)
    content = bytearray(path.read_bytes())
    content[8:12] = (2**31 - 1).to_bytes(4, "little")  # the place of the root table
    path.write_bytes(content)
    with pytest.raises(struct.error):
        decompressed_size(path)
    with pytest.raises(BadInput, match="expected a readable arrow file"):
        list(iter_texts(path))
