"""The figure of the audit: predictions that change when a listed word is replaced, and the control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submillion.report.drawn_names import drawn
from submillion.report.theme import BLUE, MUTED, VERMILION, grid, new_figure, width_for

PITCH = 0.36  # inches from one row of the figure to the next
MIN_END = 0.1  # the axis reaches at least 10%, so that small rates look small
OFFSET = 0.16  # of a row, from its middle up to the replacement and down to the control


def replacement_rates(swaps: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw the share of changed predictions with its interval: after replacement, and below it in the control.

    A diamond marks a significant difference to the control.

    Args:
        swaps: `swaps` of the part "audit": `title`, `overall` and `groups`; those with too few texts are left
            out.
        title: of the figure.
    """
    lines = list(_lines(swaps))
    labels = [label for label, _ in lines]
    figure = new_figure(width_for(labels or [""]), 1.7 + PITCH * max(len(lines), 1), title)
    axes = figure.subplots()
    handles: dict[str, Any] = {}
    for place, (_, result) in enumerate(lines):
        if result is not None:
            _rates(axes, place, result, handles)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    for tick, (_, result) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if result is not None else "bold")
    highest = max(
        (
            result[rate]["high"]
            for _, result in lines
            if result
            for rate in ("flip_rate_interval", "control_rate_interval")
        ),
        default=0.0,
    )
    axes.set_xlim(-1, 100 * min(max(1.05 * highest, MIN_END), 1.01))
    axes.set_xlabel("predictions that change (%), 95% intervals (texts in parentheses)")
    grid(axes, "x")
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=1)
    return figure


def _lines(swaps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Yield the label of each line with its comparison, or None for a heading."""
    for axis in swaps:
        tested = [result for result in (axis["overall"], *axis["groups"]) if not result["too_small"]]
        if not tested:
            continue
        yield drawn([axis["title"]], "exchange", 44)[0], None
        names = drawn([result["group"] or "any other group" for result in tested], "group", 26)
        for name, result in zip(names, tested, strict=True):
            yield f"to {name} ({result['texts']:,})", result


def _rates(axes: Axes, place: int, result: Mapping[str, Any], handles: dict[str, Any]) -> None:
    """Draw the two rates of one comparison, and record their handles for the legend."""
    beyond = result["beyond_chance"]
    meaning = "to another group, significant difference to the control" if beyond else "to another group"
    for name, offset, colour, marker, label in (
        ("flip_rate_interval", -OFFSET, VERMILION if beyond else BLUE, "D" if beyond else "o", meaning),
        ("control_rate_interval", OFFSET, MUTED, "s", "control: to another word of the same group"),
    ):
        rate = result[name]
        ends = [100 * rate["low"], 100 * rate["high"]]
        axes.plot(ends, [place + offset] * 2, color=colour, linewidth=1.6, zorder=2)
        (dot,) = axes.plot(
            [100 * rate["value"]],
            [place + offset],
            color=colour,
            marker=marker,
            markersize=5,
            linestyle="none",
            zorder=3,
        )
        handles.setdefault(label, dot)
