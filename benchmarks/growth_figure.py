"""Draws the figure of `benchmarks.growth`: one panel per axis, in the style of the reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.report.theme import BLUE, MUTED, VERMILION, grid, house_style, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "length": ("Text length", "tokens per text"),
    "batch": ("Batch", "texts per batch"),
    "threads": ("Threads", "processor threads"),
    "rank": ("Rank", "rank on query and value"),
    "layers": ("Adapted layers", "layers with adapters, from the top"),
    "rows": ("Data", "texts"),
}
CLOCKS = {"wall": ("samples_per_s", "texts/s"), "cpu": ("samples_per_cpu_s", "texts per CPU second")}
COLUMNS = 3
LINEAR = ("threads", "layers")
"""Axes with a linear scale; the others are logarithmic."""


def draw(measured: dict[str, Any], folder: Path, clock: str = "wall") -> list[Path]:
    """Write growth.svg and growth.png.

    Args:
        measured: the parts of `benchmarks.growth` by name, each with `rows`.
        folder: created if it does not exist.
        clock: `wall` draws texts per second, `cpu` texts per second of CPU time.

    Raises:
        SystemExit: there is no part to draw.
    """
    parts = [name for name in TITLES if _valid(measured.get(name, {}).get("rows", []))]
    if not parts:
        raise SystemExit("there is no measured part to draw")
    folder.mkdir(parents=True, exist_ok=True)
    machine = measured[parts[0]]["machine"]
    execution = next(row["execution"] for name in parts for row in _valid(measured[name]["rows"]))
    heading = f"How the cost of training grows\n{machine['processor']}, {machine['cores']} cores, {execution}"
    with house_style():
        return save(_figure(measured, parts, heading, clock), folder, "growth", heading.replace("\n", ", "))


def _figure(measured: dict[str, Any], parts: Sequence[str], heading: str, clock: str) -> Figure:
    columns = min(COLUMNS, len(parts))
    rows = -(-len(parts) // columns)
    figure = new_figure(max(3.4 * columns, 5.0), 2.7 * rows + 0.6, heading)
    grids = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(grids, parts, strict=False):
        _panel(axes, name, measured[name], clock)
    for axes in grids[len(parts) :]:
        axes.set_axis_off()
    return figure


def _panel(axes: Axes, name: str, part: dict[str, Any], clock: str) -> None:
    title, label = TITLES[name]
    rows = _valid(part["rows"])
    key, unit = ("peak_rss_mb", "peak memory (MB)") if name == "rows" else CLOCKS[clock]
    lines = list(dict.fromkeys(row.get("line", "") for row in rows))
    for line, colour, style in zip(lines, (BLUE, VERMILION), ("-", "--"), strict=False):
        points = [row for row in rows if row.get("line", "") == line]
        if line != lines[0]:  # with all layers adapted both lines end in the same point
            points.append(max(rows, key=lambda row: row["value"]))
        values, heights = [row["value"] for row in points], [row[key] for row in points]
        axes.plot(values, heights, color=colour, linestyle=style, marker="o", markersize=4, label=line)
        if name != "rows" and clock == "wall":
            low = [min(row["samples_per_s_rounds"]) for row in points]
            high = [max(row["samples_per_s_rounds"]) for row in points]
            axes.vlines(values, low, high, color=colour, linewidth=0.9)
    axes.set_title(title)
    axes.set_xlabel(label)
    axes.set_ylabel(unit)
    _scales(axes, name, [row["value"] for row in rows])
    grid(axes, "y")
    if len(lines) > 1:
        axes.legend(title="layers below", title_fontsize=9, alignment="left")


def _scales(axes: Axes, name: str, values: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ticks = sorted(set(values))
    if name not in LINEAR:
        axes.set_xscale("log", base=10 if name == "rows" else 2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(round(value))))
    axes.set_ylim(0, 1.08 * axes.dataLim.y1)  # from zero, with room above the highest point
    axes.tick_params(axis="x", color=MUTED)


def _short(number: int) -> str:
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if number >= size and number % (size // 10) == 0:
            return f"{number / size:g}{sign}"
    return f"{number}"


def _valid(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if "error" not in row]
