"""Values with their intervals, a line for each, as comparisons and studies draw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from submillion.report.theme import grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PITCH = 0.3  # inches from one line to the next
LEAST_SPAN = 2.0  # never zoom into less than two points


def draw_intervals(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    intervals: Sequence[Sequence[float] | None],
    colours: Sequence[str],
) -> None:
    """Draw one line per name, the first on top: a value and its interval, where it has one, in %."""
    for place, (value, interval, colour) in enumerate(zip(values, intervals, colours, strict=True)):
        if interval:
            axes.plot([100 * end for end in interval], [place, place], color=colour, linewidth=1.4)
        axes.plot([100 * value], [place], color=colour, marker="o", markersize=5, clip_on=False)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    grid(axes, "x")
    low, high = axes.get_xlim()
    spare = max(LEAST_SPAN - (high - low), 0) / 2
    axes.set_xlim(low - spare, high + spare)
