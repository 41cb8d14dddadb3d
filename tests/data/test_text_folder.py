"""A folder of text files is read as texts with their paths as ids, and their folders as labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import notices
from submillion.data.formats import open_table
from submillion.data.readers import iter_texts, read_rows
from submillion.errors import BadInput


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files: dict[str, bytes] = {
        "pos/b.txt": b"second\n",
        "neg/a.txt": "größer,\nals gedacht".encode("cp1252"),
        "neg/deeper/c": b"\xef\xbb\xbfthird",
        "neg/picture.png": b"\x89PNG",
        ".git/x.txt": b"hidden",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_every_file_is_a_text_with_its_path_as_id(folder: Path) -> None:
    assert list(iter_texts(folder)) == [
        (["neg/a.txt", "neg/deeper/c", "pos/b.txt"], ["größer,\nals gedacht", "third", "second"])
    ]
    assert [texts[0] for _, texts in iter_texts(folder, likely_encoding="cp850")] == ["gr÷▀er,\nals gedacht"]


def test_the_folder_of_a_file_is_its_label(folder: Path) -> None:
    rows = read_rows([folder])
    assert rows.labels == ["neg", "deeper", "pos"]
    assert rows.where(2) == f"{folder.name}, file 3"


def test_tables_among_the_texts_are_named_or_refused(folder: Path) -> None:
    for name in ("a.csv", "neg/b.jsonl"):
        (folder / name).write_text("text\nx\n", encoding="utf-8")
    with notices.collecting(quiet=True):
        open_table(folder)
        texts = [notice["text"] for notice in notices.collected()]
    assert texts == [f"{folder}: tables are not read: a.csv, neg/b.jsonl."]
    (folder / "c.parquet").touch()
    found = "found 3 such files beside 3 tables: a.csv, c.parquet, neg/b.jsonl. Name one of the tables"
    with pytest.raises(BadInput, match=found):
        open_table(folder)


def test_a_folder_without_texts_is_refused(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "rows.csv").write_text("text,label\nx,y\n", encoding="utf-8")
    with pytest.raises(
        BadInput, match=r"expected files of one text each \(\.txt\), found a folder without any\. Name"
    ):
        open_table(folder / "other")
