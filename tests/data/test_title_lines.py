"""Lines above the header of a table are recognised, counted in a notice, and never a text."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import notices
from submillion.data.readers import iter_texts, read_rows
from submillion.data.title_lines import lines_above_header
from submillion.errors import BadInput

ROWS = [("arrived broken", "bad"), ("works well", "good"), ("too small", "bad"), ("as described", "good")]
TABLE = [["text", "label"], *map(list, ROWS)]


@pytest.mark.parametrize(
    ("above", "count"),
    [
        ([], 0),
        ([["Reviews of May", ""]], 1),
        ([["Reviews of May"], [], ["exported 2025-06-01", ""]], 3),
        ([[""], ["Reviews of May", ""]], 0),  # an empty line where the header should be is refused
        ([["text"]], 0),  # the header of a file of one column
        ([["Reviews", "May"]], 1),  # names of groups of columns
        ([["title", ""]], 0),
        ([["Reviews of May"]] * 21, 0),
    ],
)
def test_lines_above_the_header_are_counted(above: list[list[str]], count: int) -> None:
    assert lines_above_header(above + TABLE) == count


def test_a_text_in_two_parts_is_no_header() -> None:
    assert lines_above_header([["Bemerkung"], ["nice", "content"], ["bad"]]) == 0
    assert lines_above_header([["Bemerkung"], ["nice", "content"]]) == 0
    assert lines_above_header([["Bemerkung"], ["nice", "really"], ["bad", "indeed"]]) == 0


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("padding", ["", "x"])
def test_a_title_is_left_out_with_a_notice(tmp_path: Path, delimiter: str, padding: str) -> None:
    path = tmp_path / ("reviews.tsv" if delimiter == "\t" else "reviews.csv")
    title = "Reviews, May 2025" if delimiter != "," else "Reviews of May"
    lines = [title + delimiter * bool(padding), delimiter * bool(padding), *map(delimiter.join, TABLE)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = read_rows([path])
    assert list(zip(rows.texts, rows.labels, strict=True)) == ROWS
    assert f"{path.name}: 2 lines above the header are ignored." in [n["text"] for n in notices.collected()]
    assert [text for _, batch in iter_texts(path) for text in batch] == [text for text, _ in ROWS]


def test_places_are_lines_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text('Reviews\n\ntext,label\n"two\nlines",good\nshort,bad\na,b,c\n', encoding="utf-8")
    with pytest.raises(BadInput, match="line 7: expected 2 fields, as in the header, found 3"):
        read_rows([path])


GROUPED = [["text", "label", "stars"], *([f"text {row}", "ab"[row % 2], str(row % 3)] for row in range(6))]


@pytest.mark.parametrize(
    ("above", "below", "count"),
    [
        ([["Customer", "", "Meta"]], GROUPED, 1),
        ([["Customer", "Customer", "Meta"]], GROUPED, 1),
        ([["Reviews of May"], [], ["Customer", "", "Meta"]], GROUPED, 3),
        (
            [["", "Customer", "", "Meta"]],
            [[str(n), *row] if n else ["", *row] for n, row in enumerate(GROUPED)],
            1,
        ),
        ([["Review", "", "Meta"]], GROUPED, 0),  # has a usual name itself
        (
            [["Customer", "", "Meta"]],
            [["the question", "label", "1"], *GROUPED[1:]],
            0,
        ),  # a number is no name
        (
            [["Satz", "", "Art"]],
            [["so", "x", "question"], ["ja", "y", "question"], ["nein", "z", "answer"]],
            0,
        ),
        ([["Satz", "Sprache", "Art"]], [["so", "x", "question"], ["ja", "y", "answer"]], 0),
    ],
)
def test_a_row_that_names_groups_of_columns_is_above_the_header(
    above: list[list[str]], below: list[list[str]], count: int
) -> None:
    assert lines_above_header(above + below) == count


def test_the_columns_below_their_groups_are_read(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("Customer,,Meta\n" + "".join(",".join(row) + "\n" for row in GROUPED), encoding="utf-8")
    rows = read_rows([path])
    assert list(rows.texts) == [f"text {row}" for row in range(6)] and rows.labels == [*"ababab"]
    assert "reviews.csv: 1 line above the header is ignored." in [n["text"] for n in notices.collected()]
