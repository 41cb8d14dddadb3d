"""Values with their intervals, a line for each, as comparisons and studies draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from submillion.report.theme import grid
from submillion.run_format.interval import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PITCH = 0.3  # inches from one line to the next
LEAST_SPAN = 2.0  # never zoom into less than two points


def draw_intervals(
    axes: Axes,
    names: Sequence[str],
    intervals: Sequence[Interval],
    colours: Sequence[str],
) -> None:
    """Draw one line per name, the first on top: a value and its interval, where it has one, in %."""
    for place, (interval, colour) in enumerate(zip(intervals, colours, strict=True)):
        value, low, high = interval["value"], interval["low"], interval["high"]
        if low is not None and high is not None:
            axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.4)
        axes.plot(
            [100 * value if value is not None else math.nan],
            [place],
            color=colour,
            marker="o",
            markersize=5,
            clip_on=False,
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    grid(axes, "x")
    low, high = axes.get_xlim()
    spare = max(LEAST_SPAN - (high - low), 0) / 2
    axes.set_xlim(low - spare, high + spare)
