"""Every format gives the same rows; a file that cannot be read is refused with the place and a remedy."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from submillion import notices
from submillion.data.formats import open_table
from submillion.data.table import Malformed
from submillion.errors import BadInput

ROWS = [("plain words", "a"), ('a "quoted", word', "b"), ("two\nlines", "a"), ("naïve 😀", "b")]
COLUMNS = ["text", "label"]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(path: Path, *wanted: str) -> list[list[Any] | Malformed]:
    table = open_table(path)
    return [values for _, values in table.rows(wanted or table.columns)]


def csv_text(separator: str = ",") -> str:
    quoted = [[value.replace('"', '""') for value in row] for row in [COLUMNS, *ROWS]]
    return "".join(separator.join(f'"{value}"' for value in row) + "\n" for row in quoted)


def arrow_table() -> Any:
    import pyarrow as pa

    return pa.table({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})


def as_parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(arrow_table(), path, row_group_size=2)


def as_arrow(path: Path, stream: bool) -> None:
    import pyarrow as pa

    table = arrow_table()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


OBJECTS = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
WRITERS = {
    "rows.csv": lambda path: write(path, csv_text()),
    "bom.csv": lambda path: write(path, b"\xef\xbb\xbf" + csv_text().encode()),
    "windows.CSV": lambda path: write(path, csv_text().replace('"\n', '"\r\n')),
    "semicolon.csv": lambda path: write(path, csv_text(";")),
    "rows.tsv": lambda path: write(path, csv_text("\t")),
    "rows.jsonl": lambda path: write(path, "".join(json.dumps(value) + "\n" for value in OBJECTS)),
    "lines.json": lambda path: write(path, "".join(json.dumps(value) + "\n" for value in OBJECTS)),
    "list.json": lambda path: write(path, json.dumps(OBJECTS, indent=2, ensure_ascii=False)),
    "wrapped.json": lambda path: write(path, json.dumps({"version": 1, "data": OBJECTS})),
    "rows.parquet": as_parquet,
    "unnamed.bin": as_parquet,
    "rows.arrow": lambda path: as_arrow(path, stream=False),
    "stream.arrow": lambda path: as_arrow(path, stream=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    assert open_table(tmp_path / name).columns == COLUMNS
    assert rows_of(tmp_path / name) == [list(row) for row in ROWS]
    assert rows_of(tmp_path / name, "label", "text", "label") == [[b, a, b] for a, b in ROWS]


def test_lines_of_quoted_line_breaks_are_counted(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / "rows.csv", 'text,label\n"one\ntwo\r\nthree",a\n\nfour,b\n'))
    assert list(table.rows(COLUMNS)) == [(2, ["one\ntwo\r\nthree", "a"]), (6, ["four", "b"])]


def test_a_row_with_other_fields_is_malformed_not_shifted(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "text,label\na, b,c\nd\ne,f\n")
    assert rows_of(path) == [
        Malformed("3", "A text with ',' in it needs double quotes around it.", "2 fields, as in the header"),
        Malformed("1", expected="2 fields, as in the header"),
        ["e", "f"],
    ]


def test_plain_lines_and_single_columns_keep_empty_lines(tmp_path: Path) -> None:
    assert rows_of(write(tmp_path / "a.txt", 'one, "two"\r\n\nthree')) == [['one, "two"'], [""], ["three"]]
    assert rows_of(write(tmp_path / "no_suffix", "one\n")) == [["one"]]
    assert rows_of(write(tmp_path / "a.csv", "text\none\n\nthree\n")) == [["one"], [""], ["three"]]


def test_a_tab_file_with_one_header_line_is_tab_separated(tmp_path: Path) -> None:
    assert rows_of(write(tmp_path / "usual.tab", "text\tlabel\nx\ty\n")) == [["x", "y"]]


def test_quotes_in_a_tab_file_that_do_not_quote_are_text(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.tsv", 'text\tlabel\n"Hi," he said\ta\n5" disk\tb\n')
    assert rows_of(path) == [['"Hi," he said', "a"], ['5" disk', "b"]]
    assert notices.collected()[0]["text"] == "rows.tsv: quotes are read as characters of the text."


def test_a_megabyte_in_one_field_is_one_text(tmp_path: Path) -> None:
    text = "long words " * 100_000
    path = write(tmp_path / "rows.csv", f'text,label\n"{text}",a\nshort,b\n')
    assert [len(text) for text, _ in rows_of(path)] == [1_100_000, 5]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "empty.csv: expected a file of texts, found an empty file."),
        ("rows.csv", b"BZhrest", "found a bzip2 archive. Unpack it: bunzip2 FILE."),
        (
            "open.csv",
            b'text,label\nfine,a\n"never closed,b\nmore,c\n',
            "line 3: expected a quoted field that ends, found one that never ends.",
        ),
        (
            "wild.csv",
            b'text,label\n"He said "yes" loudly",b\n',
            "wild.csv, line 2: expected a quoted field whose inner quotes are doubled, found",
        ),
        (
            "blank.csv",
            b"\ntext,label\n",
            "blank.csv, line 1: expected a header that names the columns, found an empty line.",
        ),
        (
            "bad.jsonl",
            b'{"text": "x"}\n{"text": \n',
            "bad.jsonl, line 2: expected one JSON object per line, found a line that is not JSON",
        ),
        ("bad.json", b"[1, 2", "bad.json: expected a readable JSON file, found one that is not"),
        (
            "one.json",
            b'{\n"text": "x"}',
            "one per line, or in one list, found one object with the keys 'text'.",
        ),
        ("numbers.json", b"[1, 2]", "numbers.json: expected objects such as"),
        (
            "cut.parquet",
            b"PAR1 and no more",
            "cut.parquet: expected a readable parquet file, found one that is not",
        ),
        (
            "cut.arrow",
            b"ARROW1 and no more",
            "cut.arrow: expected a readable arrow file, found one that is not",
        ),
        (
            "data.pkl",
            b"anything",
            "found a pickle, and reading one runs code that its author chose. Save the data as csv",
        ),
        (
            "data.csv",
            pickle.dumps({"text": ["x"]}),
            "data.csv: expected a file that contains only data, found a pickle",
        ),
        ("data.docx", b"whatever", "expected a file whose name ends in .csv, .tsv, .tab, .jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        rows_of(write(tmp_path / name, content))
    assert message in str(caught.value)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text\nx\n")
    with pytest.raises(
        BadInput, match=r"trian\.csv: expected .*, found no such file\. Did you mean 'train\.csv'\?"
    ):
        open_table(tmp_path / "trian.csv")
    with pytest.raises(BadInput, match="found no such folder as"):
        open_table(tmp_path / "none" / "train.csv")
    with pytest.raises(BadInput, match="found a folder"):
        open_table(tmp_path)


def test_parquet_text_that_is_not_utf8_is_named_by_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    binary = pa.array([b"fine"] * 1030 + [b"caf\xe9"] + [b"fine"])
    text = pa.Array.from_buffers(pa.string(), len(binary), binary.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "rows.parquet")
    with pytest.raises(
        BadInput, match=r"rows\.parquet, row 1031: expected text in utf-8, found byte 0xe9 at position 4"
    ):
        rows_of(tmp_path / "rows.parquet")


def test_class_names_of_datasets_are_read(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    data = datasets.Dataset.from_dict({"text": ["x", "y"], "label": [1, 0]}, features=features)
    data.to_parquet(tmp_path / "rows.parquet")
    data.save_to_disk(tmp_path / "saved")
    for path in (tmp_path / "rows.parquet", next((tmp_path / "saved").glob("*.arrow"))):
        assert open_table(path).class_names == {"label": ["no", "yes"]}
        assert rows_of(path) == [["x", 1], ["y", 0]]


class Bomb:
    """Unpickling this leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["data.pkl", "data.joblib", "data.csv"])
def test_a_pickle_is_refused_and_not_run(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, pickle.dumps(Bomb(tmp_path / "trace")))
    with pytest.raises(
        BadInput, match=r"a pickle, and reading one runs code that its author chose\. Save the"
    ):
        open_table(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        (
            "rows.xls",
            b"\n<html><table></table>",
            "html or xml named .xls. Open it in a spreadsheet program, and",
        ),
        ("rows.xls", b"text\tlabel\nx\ta\n", "text separated by tabs, named .xls. Rename it to .tsv."),
        (
            "rows.XLS",
            "text\tlabel\nx\ta\n".encode("utf-16"),
            "text separated by tabs, named .XLS. Rename it to",
        ),
        ("rows.xlsx", b"\xef\xbb\xbftext,label\nx,a\n", "plain text named .xlsx. Rename it to .csv."),
        ("rows.ods", b"\x01\x00\x02", "something else named .ods. Save it again as .xlsx or .csv."),
    ],
)
def test_a_file_named_like_a_spreadsheet_is_called_what_it_is(
    tmp_path: Path, name: str, content: bytes, found: str
) -> None:
    with pytest.raises(BadInput) as caught:
        rows_of(write(tmp_path / name, content))
    assert f"{name}: expected a spreadsheet, found {found}" in str(caught.value)


def test_parquet_columns_of_bytes_in_utf8_are_texts(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: pa.array([row[place].encode() for row in ROWS]) for place, name in enumerate(COLUMNS)}
    columns["blob"] = pa.array([b"\xff\x00"] * len(ROWS))
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    assert rows_of(tmp_path / "rows.parquet", *COLUMNS) == [list(row) for row in ROWS]
    assert rows_of(tmp_path / "rows.parquet", "blob")[0] == [b"\xff\x00"]
