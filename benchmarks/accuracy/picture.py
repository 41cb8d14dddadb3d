"""Draws accuracy against the processor time of training, one panel a data set."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.accuracy.cells import METHODS, Cell, encoder_of, kind_of
from benchmarks.accuracy.results import Result
from benchmarks.accuracy.sets import ALL, PER_CLASS, SETS, SIZES, seeds_of
from submillion.report.theme import (
    BLUE,
    INK,
    MUTED,
    NAVY,
    SKY,
    VERMILION,
    grid,
    house_style,
    new_figure,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREEN, YELLOW, PINK = "#007A5E", "#B58900", "#B5447A"
COLOURS = {
    "words": (GREEN, "words, SVM"),
    "characters": (YELLOW, "characters, SVM"),
    "frozen": (SKY, "frozen encoder, logistic regression"),
    "model2vec": (MUTED, "model2vec, logistic regression"),
    "setfit": (PINK, "SetFit"),
    "peft": (NAVY, "transformers + peft script"),
    "auto": (VERMILION, "submillion auto"),
}
"""Colour and legend by kind; the most frequent class takes no time and is a line."""
STYLES = {None: "-", "minilm": ":", "mpnet-base": "-"}
COLUMNS = 2
NAMED = {"8": "8", "16": "16", "32": "32", "64": "64", "1000": "1k", ALL: "all"}
HEADING = "Accuracy against processor time of training, from 8 labels a class to all rows"
SECONDS_TICKS = {
    1 / 600: "0.1 s",
    1 / 60: "1 s",
    1 / 6: "10 s",
    1.0: "1 min",
    10.0: "10 min",
    100.0: "100 min",
}


def draw(known: Mapping[Cell, Result], folder: Path) -> list[Path]:
    """Write accuracy.svg and accuracy.png.

    Args:
        known: the computed cells.
        folder: created if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with house_style():
        return save(_figure(known), folder, "accuracy", HEADING)


def _figure(known: Mapping[Cell, Result]) -> Figure:
    rows = -(-(len(SETS) + 1) // COLUMNS)
    figure = new_figure(9.0, 3.4 * rows + 0.6, HEADING)
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    drawn: set[str] = set()
    for axes, name in zip(panels, SETS, strict=False):
        drawn |= _panel(axes, known, name)
    _legend(panels[len(SETS)], drawn)
    for axes in panels[len(SETS) + 1 :]:
        axes.set_axis_off()
    return figure


def _panel(axes: Axes, known: Mapping[Cell, Result], name: str) -> set[str]:
    """Draw one set; return the kinds that it has."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    drawn = set()
    for method in METHODS:
        kind = kind_of(method)
        points = _points(known, name, method)
        if kind not in COLOURS or not points:
            continue
        drawn.add(kind)
        # Rows drawn by class and rows with the shares of the whole set are two lines: R52 has more of the former.
        by_class = [point for point in points if point[2] in PER_CLASS]
        for part in (by_class, [point for point in points if point not in by_class]):
            _line(axes, part, method)
    axes.set_title(SETS[name][0])
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(list(SECONDS_TICKS)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: SECONDS_TICKS.get(value, "")))
    axes.set_xlabel("processor time, logarithmic")
    axes.set_xlim(min(SECONDS_TICKS) / 3, max(SECONDS_TICKS) * 3)
    axes.set_ylabel("accuracy (%)")
    if not drawn:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no cell yet", transform=axes.transAxes, ha="center", color=MUTED)
    grid(axes, "y")
    return drawn


def _line(axes: Axes, points: Sequence[tuple[float, float, str]], method: str) -> None:
    """Draw points of one method, and name the sizes of the first and the last."""
    if not points:
        return
    colour, ours = COLOURS[kind_of(method)][0], kind_of(method) == "auto"
    axes.plot(
        [point[0] for point in points],
        [point[1] for point in points],
        color=colour,
        linestyle=STYLES[encoder_of(method)],
        linewidth=2.4 if ours else 1.2,
        marker="o",
        markersize=5 if ours else 3.5,
        markerfacecolor="white" if encoder_of(method) == "minilm" else colour,
        zorder=3 if ours else 2,
    )
    for place in {0, len(points) - 1}:
        minutes, accuracy, size = points[place]
        axes.annotate(
            NAMED[size],
            (minutes, accuracy),
            (0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            color=INK,
        )


def _points(known: Mapping[Cell, Result], name: str, method: str) -> list[tuple[float, float, str]]:
    """Return median minutes, mean accuracy in percent, and size, by size."""
    points = []
    for size in SIZES:
        cells = [Cell(name, size, seed, method) for seed in seeds_of(size)]
        found = [known[cell] for cell in cells if cell in known]
        if found:
            minutes = statistics.median(result.train_cpu_s for result in found) / 60
            points.append((minutes, 100 * statistics.fmean(result.accuracy for result in found), size))
    return points


def _legend(axes: Axes, drawn: set[str]) -> None:
    from matplotlib.lines import Line2D

    axes.set_axis_off()
    lines = [
        Line2D([], [], color=colour, marker="o", markersize=4, label=title)
        for kind, (colour, title) in COLOURS.items()
        if kind in drawn
    ]
    lines += [
        Line2D(
            [], [], color=BLUE, linestyle="-", marker="o", markersize=4, label="mpnet-base, or no encoder"
        ),
        Line2D(
            [],
            [],
            color=BLUE,
            linestyle=":",
            marker="o",
            markersize=4,
            markerfacecolor="white",
            label="minilm",
        ),
    ]
    axes.legend(handles=lines, loc="center left")
