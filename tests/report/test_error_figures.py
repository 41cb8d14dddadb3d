"""Tests of the figures of errors: values, labels, legends, empty input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from submillion.report.error_figures import accuracy_by_slice, confused_pairs, deletion_curve
from submillion.report.theme import house_style
from submillion.run_format.interval import interval

PAIRS = [
    {"true": f"class {place}", "predicted": "other", "rows": 30 - place, "share": (30 - place) / 100}
    for place in range(20)
]


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with house_style():
        yield


def texts_of(figure: Any) -> list[str]:
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def part(name: str, accuracy: float | None, rows: int = 100, **facts: Any) -> dict[str, Any]:
    low, high = (0.0, 1.0) if accuracy is None else (accuracy - 0.05, min(accuracy + 0.05, 1.0))
    return {
        "name": name,
        "rows": rows,
        "accuracy": accuracy,
        "accuracy_interval": interval(accuracy, low, high),
    } | facts


def test_pairs_are_bars_with_rows_and_share() -> None:
    figure = confused_pairs(PAIRS, "Pairs", max_pairs=3)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [30, 29, 28]
    written = texts_of(figure)
    assert "30  (30.0% of class 0)" in written
    assert "class 2 → other" in written
    assert "Pairs\nthe 3 most frequent of 20 pairs" in written
    assert "Pairs\nthe 15 most frequent of 50 pairs" in texts_of(confused_pairs(PAIRS, "Pairs", total=50))
    assert "Pairs" in texts_of(confused_pairs(PAIRS[:2], "Pairs"))


def test_empty_figures_say_so() -> None:
    assert "no row was misclassified" in texts_of(confused_pairs([], "Pairs"))
    assert "no slices to compare" in texts_of(accuracy_by_slice([], 0.9, "Slices"))
    assert "no text was explained" in texts_of(deletion_curve([], "Deletions"))


def test_slices_have_headings_marks_and_the_line_of_all_rows() -> None:
    slices = [
        part("short", 0.9, group="length", beyond_chance=False, too_small=False),
        part("long", 0.7, group="length", beyond_chance=True, too_small=False),
        part("rare", 0.5, 4, group="source", beyond_chance=None, too_small=True),
        part("empty", None, 0, group="source", too_small=True),
    ]
    figure = accuracy_by_slice(slices, 0.85, "Slices")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["length", "short (100)", "long (100)", "source", "rare (4)", "empty (0)"]
    dots = {line.get_ydata()[0]: line for line in axes.lines if line.get_marker() in ("o", "D")}
    assert {place: line.get_xdata()[0] for place, line in dots.items()} == {1: 90, 2: 70, 4: 50}
    assert dots[2].get_marker() == "D"
    assert dots[4].get_markerfacecolor() == "white"
    assert list(axes.lines[0].get_xdata()) == [85, 85]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "no significant difference",
        "significant difference to the other rows",
        "too few rows to test",
        "accuracy of all rows: 85.0%",
    ]
    low, high = axes.get_xlim()
    assert low < 50 < 95 < high


def test_untested_slices_claim_no_difference() -> None:
    figure = accuracy_by_slice([part("a", 1.0), part("b", 0.97)], 0.98, "Slices", unit="kept (%)")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["share of the rows", "accuracy of all rows: 98.0%"]
    assert any(text.startswith("kept (%)") for text in texts_of(figure))
    assert figure.axes[0].get_xlim()[1] <= 101


def test_deletions_are_two_lines_with_their_texts() -> None:
    steps = [
        {
            "words": words,
            "texts": texts,
            "top": interval(0.1 * words, low, 0.3),
            "random": interval(0.01, low, 0.02),
        }
        for words, texts, low in ((1, 9, 0.0), (2, 1, None))
    ]
    figure = deletion_curve(steps, "Deletions")
    written = texts_of(figure)
    assert "1\n9 texts" in written
    assert "2\n1 text" in written
    curves = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "s")]
    assert [list(line.get_ydata()) for line in curves] == [[10, 20], [1, 1]]
    # Two means, the zero line, and an interval for each mean of the first step alone.
    assert len(figure.axes[0].lines) == 5
