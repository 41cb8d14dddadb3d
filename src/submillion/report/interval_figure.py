"""Draws values with their confidence intervals, one per line, for comparisons and studies."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from submillion.report.theme import grid
from submillion.run_format.interval import Interval

PITCH = 0.3  # inches from one line to the next
MIN_SPAN = 2.0  # percentage points: never zoom in further


def draw_intervals(
    axes: Axes,
    names: Sequence[str],
    intervals: Sequence[Interval],
    colours: Sequence[str],
) -> None:
    """Draw one line per name, the first on top, with a value and its interval (if any) in percent."""
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
    spare = max(MIN_SPAN - (high - low), 0) / 2
    axes.set_xlim(low - spare, high + spare)
