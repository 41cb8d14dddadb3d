"""A column per class is read as labels if most rows mark one; several marks are refused, none is no label."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import notices
from submillion.data.readers import iter_texts, read_rows
from submillion.errors import BadInput, SubmillionError

TEXTS = ["arrived broken", "works well", "as described", "too small", "fine", "never again"]
CLASSES = ["bad", "good", "good", "bad", "neutral", "bad"]
NAMES = ["good", "bad", "neutral"]


def write(
    path: Path, classes: list[str], names: list[str] = NAMES, mark: str = "1", blank: str = "0"
) -> Path:
    rows = [
        [text, *(mark if name in of_row.split("+") else blank for name in names), str(place)]
        for place, (text, of_row) in enumerate(zip(TEXTS, classes, strict=True))
    ]
    path.write_text("\n".join(map(",".join, [["text", *names, "number"], *rows])) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("mark", "blank"), [("1", "0"), ("1.0", "0.0"), ("True", "False"), ("x", ""), ("X", "")]
)
def test_the_marked_column_is_the_class(tmp_path: Path, mark: str, blank: str) -> None:
    path = write(tmp_path / "a.csv", CLASSES, mark=mark, blank=blank)
    rows = read_rows([path])
    assert (list(rows.texts), rows.labels) == (TEXTS, CLASSES)
    assert "the classes are the columns 'good', 'bad' and 'neutral'" in notices.collected()[0]["text"]
    rows = read_rows([path], ["number", "text"], extra=["number"])
    assert rows.texts[1] == "1 works well" and rows.extra["number"] == [str(place) for place in range(6)]
    assert [text for _, batch in iter_texts(path) for text in batch] == TEXTS


def test_a_row_without_a_mark_has_no_label_and_one_with_several_is_refused(tmp_path: Path) -> None:
    rows = read_rows([write(tmp_path / "a.csv", [*CLASSES[:5], ""])])
    assert rows.labels == CLASSES[:5]
    assert "1 without a mark in the column of a class" in notices.collected()[-1]["text"]
    with pytest.raises(BadInput, match="line 7.*one class"):
        read_rows([write(tmp_path / "b.csv", [*CLASSES[:5], "bad+good"])])


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["bad+good"] * 4 + ["bad", "good"], NAMES),  # most rows mark several
        ([""] * 4 + ["bad", "good"], NAMES),  # most rows mark none
        (CLASSES, ["bad"]),  # a single column
        (["bad"] * 6, NAMES),  # a single column with a mark
    ],
)
def test_other_columns_of_zeros_and_ones_are_no_classes(
    tmp_path: Path, classes: list[str], names: list[str]
) -> None:
    with pytest.raises(SubmillionError, match="expected a label column"):
        read_rows([write(tmp_path / "a.csv", classes, names)])


def test_a_label_column_comes_first(tmp_path: Path) -> None:
    names = ["good", "bad"]
    path = write(tmp_path / "a.csv", ["good", "bad"] * 3, names)
    content = path.read_text(encoding="utf-8").replace("number", "label")
    path.write_text(content, encoding="utf-8")
    assert read_rows([path]).labels == [str(place) for place in range(6)]
    assert read_rows([path], label="good").labels == ["1", "0"] * 3
