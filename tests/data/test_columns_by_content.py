"""Tests that text and label columns with unfamiliar names are identified by their values, or not at all if unclear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from submillion.data.columns_by_content import columns_by_content

TEXTS = ["kam kaputt an", "läuft sehr gut", "viel zu klein", "wie beschrieben", "nie wieder", "gern wieder"]
LABELS = ["schlecht", "gut"] * 3
HEADER = "Bewertung;Note"


def write(
    path: Path, texts: list[str], labels: list[str], header: str = HEADER, number: bool = False
) -> Path:
    rows = [f"{text};{label}" for text, label in zip(texts, labels, strict=True)]
    if number:
        rows = [f"{place};{row}" for place, row in enumerate(rows)]
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "number"),
    [(HEADER, False), (";" + HEADER, True), ("Unnamed: 0;" + HEADER, True), ("id;" + HEADER, True)],
)
def test_texts_differ_and_labels_occur_again(tmp_path: Path, header: str, number: bool) -> None:
    long = [f"{text}, mit allem Zubehör" for text in TEXTS]
    path = write(tmp_path / "a.csv", long, LABELS, header, number)
    assert columns_by_content(path, None, None, None) == ("Bewertung", "Note")
    assert columns_by_content(path, "Bewertung", None, None) == ("Bewertung", "Note")
    assert columns_by_content(path, None, "Note", None) == ("Bewertung", "Note")


def test_the_order_of_the_columns_does_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", LABELS, [f"{text}, mit allem" for text in TEXTS], "Note;Bewertung")
    assert columns_by_content(path, None, None, None) == ("Bewertung", "Note")


def test_texts_of_a_script_without_blanks_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"评论": f"这个手机很好用{place}", "类别": "正面" if place % 2 else "负面"} for place in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert columns_by_content(path, None, None, None) == ("评论", "类别")


@pytest.mark.parametrize(
    ("texts", "labels", "header"),
    [
        (TEXTS, LABELS, "text;label"),  # the names tell
        (TEXTS[:3], LABELS[:3], HEADER),  # too few
        (TEXTS, [str(place) for place in range(6)], HEADER),  # every value once
        (TEXTS, ["gut"] * 6, HEADER),  # one class
        ([text[:3] for text in TEXTS], LABELS, HEADER),  # shorter than the labels
        ([TEXTS[0], TEXTS[1]] * 3, LABELS, HEADER),  # both occur again
    ],
)
def test_values_that_leave_doubt_tell_nothing(
    tmp_path: Path, texts: list[str], labels: list[str], header: str
) -> None:
    assert columns_by_content(write(tmp_path / "a.csv", texts, labels, header), None, None, None) is None


def test_names_of_the_caller_that_the_values_contradict_tell_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [f"{text}, mit allem" for text in TEXTS], LABELS)
    assert columns_by_content(path, "Note", None, None) is None
    assert columns_by_content(path, None, "Bewertung", None) is None
    assert columns_by_content(path, "nothing", None, None) is None


def test_three_columns_and_files_that_cannot_be_read_tell_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Bewertung;Land;Note\n" + "ein langer Text;at;gut\n" * 6, encoding="utf-8")
    assert columns_by_content(path, None, None, None) is None
    path.write_bytes(b"")
    assert columns_by_content(path, None, None, None) is None


@pytest.mark.parametrize(("value", "expected"), [("", ("Bewertung", "Note")), ("schlecht", None)])
def test_a_column_with_values_but_without_a_name_leaves_doubt(
    tmp_path: Path, value: str, expected: tuple[str, str] | None
) -> None:
    texts = [f"{text}, mit allem Zubehör;{value}" for text in TEXTS]
    path = write(tmp_path / "a.csv", texts, LABELS, "Bewertung;;Note")
    assert columns_by_content(path, None, None, None) == expected
