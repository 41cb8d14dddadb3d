"""The figure of `benchmarks.growth`: one panel for each axis, in the look of the reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.report.theme import BLUE, MUTED, VERMILION, grid, house_style, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "length": ("Text length", "tokens of each text"),
    "batch": ("Batch", "texts of a batch"),
    "threads": ("Threads", "processor threads"),
    "rank": ("Rank", "rank on query and value"),
    "layers": ("Adapted layers", "uppermost layers with adapters"),
    "rows": ("Data", "texts"),
}
CLOCKS = {"wall": ("samples_per_s", "texts/s"), "cpu": ("samples_per_cpu_s", "texts by CPU second")}
COLUMNS = 3
EVEN = (
    "threads",
    "layers",
)  # axes whose steps are even; along the others each point is a multiple of the last


def draw(found: dict[str, Any], folder: Path, clock: str = "wall") -> list[Path]:
    """Write growth.svg and growth.png.

    Args:
        found: what `benchmarks.growth` wrote: parts by name, each with `rows`.
        folder: made if absent.
        clock: `wall` draws texts by second, `cpu` by second of processor time.

    Raises:
        SystemExit: there is no part to draw.
    """
    parts = [name for name in TITLES if _good(found.get(name, {}).get("rows", []))]
    if not parts:
        raise SystemExit("nothing was measured that could be drawn")
    folder.mkdir(parents=True, exist_ok=True)
    machine = found[parts[0]]["machine"]
    execution = next(row["execution"] for name in parts for row in _good(found[name]["rows"]))
    heading = f"How the cost of training grows\n{machine['processor']}, {machine['cores']} cores, {execution}"
    with house_style():
        return save(_figure(found, parts, heading, clock), folder, "growth", heading.replace("\n", ", "))


def _figure(found: dict[str, Any], parts: Sequence[str], heading: str, clock: str) -> Figure:
    columns = min(COLUMNS, len(parts))
    rows = -(-len(parts) // columns)
    figure = new_figure(max(3.4 * columns, 5.0), 2.7 * rows + 0.6, heading)
    grids = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(grids, parts, strict=False):
        _panel(axes, name, found[name], clock)
    for axes in grids[len(parts) :]:
        axes.set_axis_off()
    return figure


def _panel(axes: Axes, name: str, part: dict[str, Any], clock: str) -> None:
    title, label = TITLES[name]
    measured = _good(part["rows"])
    key, unit = ("peak_rss_mb", "peak memory (MB)") if name == "rows" else CLOCKS[clock]
    lines = list(dict.fromkeys(row.get("line", "") for row in measured))
    for line, colour, style in zip(lines, (BLUE, VERMILION), ("-", "--"), strict=False):
        points = [row for row in measured if row.get("line", "") == line]
        if line != lines[0]:  # the last layer makes no difference between the lines: both end there
            points.append(max(measured, key=lambda row: row["value"]))
        values, heights = [row["value"] for row in points], [row[key] for row in points]
        axes.plot(values, heights, color=colour, linestyle=style, marker="o", markersize=4, label=line)
        if name != "rows" and clock == "wall":
            low = [min(row["samples_per_s_rounds"]) for row in points]
            high = [max(row["samples_per_s_rounds"]) for row in points]
            axes.vlines(values, low, high, color=colour, linewidth=0.9)
    axes.set_title(title)
    axes.set_xlabel(label)
    axes.set_ylabel(unit)
    _scales(axes, name, [row["value"] for row in measured])
    grid(axes, "y")
    if len(lines) > 1:
        axes.legend(title="layers below", title_fontsize=9, alignment="left")


def _scales(axes: Axes, name: str, values: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ticks = sorted(set(values))
    if name not in EVEN:
        axes.set_xscale("log", base=10 if name == "rows" else 2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(round(value))))
    axes.set_ylim(0, 1.08 * axes.dataLim.y1)  # from zero, and room for the highest point
    axes.tick_params(axis="x", color=MUTED)


def _short(number: int) -> str:
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if number >= size and number % (size // 10) == 0:
            return f"{number / size:g}{sign}"
    return f"{number}"


def _good(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if "error" not in row]
