"""Tests of the names in figures: scripts without glyphs, control characters, long names, and many classes."""

from __future__ import annotations

import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from submillion import notices
from submillion.assess.score import assess_run
from submillion.report import class_figures, drawn_names
from submillion.report.drawn_names import drawn, numbered
from submillion.report.page import render_page
from submillion.report.write import write_report
from support.page_reader import ParsedPage
from support.run import made_run

ODD = [
    "$0-$50",
    "a_b^c \\frac % #",
    "体育新闻",
    "اقتصاد",
    "🍕 food",
    "line\nbreak\x1b[2J\x00",
    "x" * 150 + "A" + "y" * 149,
    "x" * 150 + "B" + "y" * 149,
    "<b>&",
    " ",
]


def test_names_without_glyphs_become_numbers_and_stay_distinct() -> None:
    shown = drawn(ODD)
    assert shown[:6] == [
        "$0-$50",
        "a_b^c \\frac % #",
        "class 3",
        "class 4",
        "class 5",
        "line\\nbreak\\x1b[2J\\x00",
    ]
    assert shown[8:] == ["<b>&", "class 10"]
    assert len(set(shown)) == len(ODD)
    assert all(len(name) <= drawn_names.LONGEST and name.isprintable() for name in shown)
    assert drawn(shown) == shown
    assert [number for number, _ in numbered(ODD)] == ["class 3", "class 4", "class 5", "class 10"]
    assert numbered(["Sports", "Économie", "Экономика"]) == []


def test_one_notice_names_the_numbered_classes() -> None:
    with notices.collecting(quiet=True):
        drawn_names.notice_numbered(ODD)
        drawn_names.notice_numbered(["Sports"])
        (notice,) = notices.collected()
    assert notice["classes"] == 4
    assert "cannot draw 4 class names" in notice["text"] and "class 3 is 体育新闻" in notice["text"]


def test_a_run_with_odd_class_names_gets_its_report_without_a_warning(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", ODD, [4] * len(ODD), skill=3.0, splits=["test"])
    assess_run(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(run.path)
    page = run.report.read_text(encoding="utf-8")
    assert not any(ord(character) < 32 and character not in "\n\t" for character in page)
    text = ParsedPage(page).text()
    for words in ("class 3: 体育新闻", "class 4: اقتصاد", "$0-$50", "<b>&"):
        assert words in text, words
    svg = (run.figures / "classes_test.svg").read_text(encoding="utf-8")
    assert "class 3 (4)" in svg and "体" not in svg
    for file in run.figures.glob("*.svg"):
        ElementTree.fromstring(file.read_text(encoding="utf-8"))


def test_of_many_classes_the_most_confused_are_shown_beside_the_others_together() -> None:
    size = class_figures.MAX_CLASSES + 20
    counts = np.diag(np.full(size, 5))
    counts[7, 50] = 3
    counts[3, 4] = 1
    merged, names, which = class_figures.most_confused(counts, [f"c{index}" for index in range(size)])
    assert merged.sum() == counts.sum()
    assert [name for name in ("c3", "c4", "c7", "c50") if name not in names] == []
    assert len(names) == class_figures.FEWER_CLASSES + 1 and names[-1] == "36 other classes"
    assert merged[names.index("c7"), names.index("c50")] == 3
    assert merged[-1, -1] == 36 * 5
    assert which.startswith("the 24 most confused of 60 classes")
    few, shown, nothing = class_figures.most_confused(counts[:9, :9], "abcdefghi")
    assert (few.shape, shown, nothing) == ((9, 9), list("abcdefghi"), "")


def test_of_many_classes_those_with_the_lowest_f1_are_shown() -> None:
    size = class_figures.MAX_CLASSES + 1
    counts = np.diag(np.full(size, 5))
    counts[9] = 0  # neither rows nor predictions: no F1
    counts[7, 8], counts[7, 7] = 5, 0
    shown, which = class_figures.lowest_f1(counts, [str(index) for index in range(size)])
    assert shown[:2] == [7, 8] and 9 not in shown and len(shown) == class_figures.FEWER_CLASSES
    assert which == "the 24 classes with the lowest F1, of 41"


@pytest.mark.parametrize("classes", [77])
def test_the_page_of_many_classes_folds_its_tables(tmp_path: Path, classes: int) -> None:
    run = made_run(tmp_path / "run", [f"intent {i}" for i in range(classes)], [3] * classes, splits=["test"])
    assess_run(run)
    text = ParsedPage(render_page(run)).text("classes")
    assert "Precision, recall and F1 of the 24 classes with the lowest F1 on test" in text
    assert "All 77 classes on test" in text
