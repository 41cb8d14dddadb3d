"""Files of fastText's form are read as texts and labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import notices
from submillion.data.readers import iter_texts, read_rows
from submillion.errors import BadInput


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["train.txt", "train"])
def test_labels_and_texts_are_told_apart(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "__label__a  one, two\n\n__label__b __label in the text\n__label__a\n")
    rows = read_rows([path])
    assert (list(rows.texts), rows.labels) == (["one, two", "__label in the text", ""], ["a", "b", "a"])
    assert rows.where(1) == f"{name}, line 3"
    assert notices.collected()[0]["code"] == "fasttext_form"
    assert [texts for _, texts in iter_texts(path)] == [["one, two", "__label in the text", ""]]


def test_several_labels_and_none_are_refused_by_line(tmp_path: Path) -> None:
    path = write(tmp_path / "train.txt", "__label__a one\n__label__a __label__b two\nthree\n")
    with pytest.raises(BadInput) as caught:
        read_rows([path])
    several, none = str(caught.value).splitlines()
    assert f"{path}, line 2: expected one class in column 'label', found several classes" in several
    assert f"{path}, line 3: expected a label in column 'label', found nothing" in none


def test_a_later_label_makes_no_form(tmp_path: Path) -> None:
    path = write(tmp_path / "lines.txt", "plain\n__label__a one\n")
    assert [texts for _, texts in iter_texts(path)] == [["plain", "__label__a one"]]
