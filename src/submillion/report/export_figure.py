"""The picture of an export: the accuracy that each file lost against its speed."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from submillion.report.theme import (
    BLUE,
    INK,
    MUTED,
    VERMILION,
    WIDTH,
    grid,
    house_style,
    new_figure,
    save,
)
from submillion.run_format.export import ExportRecord, FileRecord

NAME = "accuracy_and_speed"
MARKERS = "oDsv^<>PXph"
"""One form of point per file, so that colour is not needed."""
MIN_SPAN = 1.0
"""Points of accuracy: never zoom in further."""


def draw_export(record: ExportRecord, folder: Path) -> list[Path]:
    """Draw the picture as svg and png into `folder`, and return the two files."""
    rows = sum(part["rows"] for part in record["compared"].values())
    title = f"Accuracy lost by each exported file, and its speed\n{rows:,} rows; 95% intervals, paired by row"
    with house_style():
        return save(_figure(record, title), folder, NAME, title.replace("\n", ", "))


def _figure(record: ExportRecord, title: str) -> Figure:
    entries = record["files"] | record["removed"]
    figure = new_figure(WIDTH, 3.6 + 0.22 * (len(entries) + 1), title)
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    limit = record["max_loss"]
    axes.axhline(limit, color=MUTED, linewidth=0.8, linestyle="--", zorder=1)
    own = record["reference"]["texts_per_second"]
    axes.plot(
        [own], [0], marker="*", markersize=11, color=INK, linestyle="none", label="the run in submillion"
    )
    for number, (name, entry) in enumerate(entries.items()):
        removed = name in record["removed"]
        label = f"{name} (removed)" if removed else name
        _draw_file(axes, entry, MARKERS[number % len(MARKERS)], label, VERMILION if removed else BLUE)
    low, high = axes.get_ylim()
    low, high = min(low, -0.1), max(high, 1.3 * limit, 0.1)
    spare = max(MIN_SPAN - (high - low), 0) / 2
    axes.set_ylim(low - spare, high + spare)
    _speeds(axes, [own, *(entry["texts_per_second"] for entry in entries.values())])
    axes.annotate(
        f"accepted loss: {limit:g}",
        (1, limit),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=MUTED,
    )
    axes.set_xlabel("texts per second, tokenization included (log scale)")
    axes.set_ylabel("accuracy lost (points)")
    grid(axes, "y")
    figure.legend(loc="outside lower left", ncols=1)
    return figure


def _draw_file(axes: Axes, entry: FileRecord, marker: str, label: str, colour: str) -> None:
    difference, interval = entry["accuracy_difference"], entry["interval"]
    if difference is None or interval is None:
        return
    speed = entry["texts_per_second"]
    if interval["low"] is not None and interval["high"] is not None:
        axes.plot([speed] * 2, [-100 * interval["low"], -100 * interval["high"]], color=colour, linewidth=1.2)
    axes.plot(
        [speed],
        [-100 * difference],
        marker=marker,
        markersize=6,
        color=colour,
        markeredgecolor="white",
        markeredgewidth=0.6,
        linestyle="none",
        label=label,
    )


def _speeds(axes: Axes, speeds: list[float]) -> None:
    """Mark the axis with plain numbers, 1, 2 and 5 times a power of ten."""
    low, high = min(speeds) / 1.4, max(speeds) * 1.4
    ticks = [step * 10.0**power for power in range(-2, 8) for step in (1, 2, 5)]
    axes.set_xlim(low, high)
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
