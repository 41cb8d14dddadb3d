"""Text tables for terminals and Markdown."""

from __future__ import annotations

from submillion.terminal.text_table import align_columns, markdown

ROWS = [["part", "size", "share"], ["head.output", "3,076", "5%"], ["bias", "1", ""]]


def test_all_columns_but_the_first_are_aligned_to_the_right() -> None:
    assert align_columns(ROWS) == [
        "part          size  share",
        "head.output  3,076     5%",
        "bias             1",
    ]


def test_chosen_columns_are_aligned_to_the_right_and_no_line_ends_in_spaces() -> None:
    assert align_columns(ROWS, right={1}) == [
        "part          size  share",
        "head.output  3,076  5%",
        "bias             1",
    ]


def test_markdown_escapes_the_column_separator() -> None:
    assert markdown(["cell", "accuracy"], [["a|b", "91.2%"]]) == [
        "| cell | accuracy |",
        "| --- | ---: |",
        "| a\\|b | 91.2% |",
    ]


def test_a_cell_cannot_break_its_line_or_control_the_terminal() -> None:
    rows = [["class", "rows"], ["a\nb\x1b[2J", "1"]]
    assert align_columns(rows) == ["class        rows", r"a\nb\x1b[2J     1"]
    assert markdown(["class"], [["a\n\x1b"]])[2] == r"| a\n\x1b |"
