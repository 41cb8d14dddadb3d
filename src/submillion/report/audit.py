"""The figure of the audit: how many answers change when listed words are exchanged, beside the control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from submillion.report.theme import BLUE, MUTED, VERMILION, grid, label_width, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PITCH = 0.36  # inches from one row of the figure to the next
LEAST_END = 0.1  # the axis reaches to ten per cent at least: small rates are to look small
APART = 0.16  # of a row, by which swap and control lie above and below its middle


def swaps(axes_found: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw the share of changed answers with its interval: of the exchange, and below it of the control.

    Args:
        axes_found: the part's `swaps`, of which those that were judged are drawn: `title`, `overall` and
            `groups`. A diamond marks what differs from its control beyond chance.
    """
    lines = list(_lines(axes_found))
    labels = [label for label, _ in lines]
    figure = new_figure(5.2 + label_width(labels or [""]), 1.7 + PITCH * max(len(lines), 1), title)
    axes = figure.subplots()
    drawn: dict[str, Any] = {}
    for place, (_, found) in enumerate(lines):
        if found is not None:
            _rates(axes, place, found, drawn)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    for tick, (_, found) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if found is not None else "bold")
    highest = max(
        (
            found[rate]["high"]
            for _, found in lines
            if found
            for rate in ("flip_rate_interval", "control_rate_interval")
        ),
        default=0.0,
    )
    axes.set_xlim(-1, 100 * min(max(1.05 * highest, LEAST_END), 1.01))
    axes.set_xlabel("answers that change (%), 95 % intervals (texts in brackets)")
    grid(axes, "x")
    figure.legend(list(drawn.values()), list(drawn), loc="outside lower center", ncols=1)
    return figure


def _lines(axes_found: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Yield what stands in each row: a heading (None), or a comparison that was judged."""
    for axis in axes_found:
        judged = [found for found in (axis["overall"], *axis["groups"]) if not found["too_small"]]
        if not judged:
            continue
        yield axis["title"], None
        names = shorten([found["group"] or "any other group" for found in judged], 34)
        for name, found in zip(names, judged, strict=True):
            yield f"to {name} ({found['texts']:,})", found


def _rates(axes: Axes, place: int, found: Mapping[str, Any], drawn: dict[str, Any]) -> None:
    """Draw the two rates of one comparison and keep their handles under what their looks mean."""
    beyond = found["beyond_chance"]
    meaning = "to another group, differs from the control beyond chance" if beyond else "to another group"
    for name, offset, colour, marker, meant in (
        ("flip_rate_interval", -APART, VERMILION if beyond else BLUE, "D" if beyond else "o", meaning),
        ("control_rate_interval", APART, MUTED, "s", "control: to another word of the same group"),
    ):
        rate = found[name]
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
        drawn.setdefault(meant, dot)
