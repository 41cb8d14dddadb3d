"""Tables of texts and labels without a header are recognised, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import notices
from submillion.data.headerless import names_without_header
from submillion.data.readers import iter_texts, read_rows
from submillion.errors import BadInput

ROWS = [
    ("See you at five", "ham"),
    ("Win money now", "spam"),
    ("Ok", "ham"),
    ("On my way", "ham"),
    ("Prize inside, call", "spam"),
]


def write(path: Path, rows: list[tuple[str, ...]], delimiter: str) -> Path:
    lines = (
        delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in row) + "\n" for row in rows
    )
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "delimiter"), [("rows.csv", ","), ("rows.csv", ";"), ("rows.tsv", "\t"), ("SMSSpam", "\t")]
)
@pytest.mark.parametrize("label_first", [False, True])
def test_texts_and_labels_without_a_header_are_read_from_the_first_line(
    tmp_path: Path, name: str, delimiter: str, label_first: bool
) -> None:
    path = write(tmp_path / name, [row[::-1] if label_first else row for row in ROWS], delimiter)
    rows = read_rows([path])
    assert list(zip(rows.texts, rows.labels, strict=True)) == ROWS
    assert rows.where(0) == f"{name}, line 1"
    place = (2, 1) if label_first else (1, 2)
    expected = f"{name}: no header; column {place[0]} is read as the text, column {place[1]} as the label."
    assert expected in [notice["text"] for notice in notices.collected()]
    assert [texts for _, texts in iter_texts(path)] == [[text for text, _ in ROWS]]


@pytest.mark.parametrize(
    "records",
    [
        [("text", "ham"), *ROWS],  # a usual name
        [("email", "ham"), *ROWS],  # of one word, as the name of a column
        [("The message", "kind"), *ROWS],  # which does not occur again
        ROWS[:3],  # too few to tell
        [(text, label, "x") for text, label in ROWS],  # other columns
        [(text, str(number)) for number, (text, _) in enumerate(ROWS)],  # ids
        [("the same words", "a"), ("the same words", "b"), ("other words", "a"), ("other words", "b")],
        [],
    ],
)
def test_whatever_may_have_a_header_has_one(records: list[tuple[str, ...]]) -> None:
    assert names_without_header(records) is None


def test_a_row_of_other_columns_is_named_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", ROWS * 300, ",")
    with path.open("a", encoding="utf-8") as file:
        file.write("one, two, three\n")
    with pytest.raises(BadInput, match=r"line 1501: expected 2 fields, as in the first row, found 3"):
        read_rows([path])


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_that_joined_files_repeat_is_no_row(mark: str) -> None:
    header = ("The message", "kind")
    assert names_without_header([header, *ROWS, (mark + header[0], header[1]), *ROWS]) is None
