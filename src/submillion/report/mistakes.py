"""Figures of mistakes: confused pairs, accuracy by slice with its intervals, what deleting words does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from submillion.report.theme import (
    BLUE,
    INK,
    MUTED,
    UNDEFINED,
    VERMILION,
    WRONG,
    grid,
    label_width,
    new_figure,
    percent,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PAIRS = 15
PITCH = 0.3  # inches from one row of a figure to the next
LEAST_SPAN = 0.05  # never zoom into less than five points of accuracy


def confused_pairs(
    pairs: Sequence[Mapping[str, Any]], title: str, most: int = MOST_PAIRS, in_all: int | None = None
) -> Figure:
    """Draw which class was taken for which as bars, the most frequent first, the share of the class beside it.

    Args:
        pairs: `true`, `predicted`, `rows` and `share` (of the rows of the true class), ranked.
        most: how many of them are drawn.
        in_all: the number of pairs there are, where `pairs` does not hold them all.
    """
    shown = pairs[:most]
    names = shorten([f"{pair['true']} → {pair['predicted']}" for pair in shown], 44)
    figure = new_figure(
        4.4 + label_width(names or [""]),
        1.25 + PITCH * max(len(shown), 1),
        _with_rest(title, pairs, most, in_all),
    )
    axes = figure.subplots()
    if not shown:
        return _say_none(axes, figure, "no row was answered wrong")
    rows = [pair["rows"] for pair in shown]
    axes.barh(range(len(shown)), rows, height=0.62, color=WRONG)
    for place, pair in enumerate(shown):
        text = f"{pair['rows']:,}  ({percent(pair['share'])} % of {shorten([pair['true']], 20)[0]})"
        axes.annotate(
            text,
            (pair["rows"], place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
    _rows_axis(axes, names)
    # Room for what is written after the longest bar.
    axes.set_xlim(0, max(rows) * 1.75)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("rows, true class → answer given")
    return figure


def accuracy_by_slice(
    slices: Sequence[Mapping[str, Any]],
    overall: float,
    title: str,
    unit: str = "accuracy (%)",
    note: str = "accuracy of all rows",
) -> Figure:
    """Draw a share for each group of rows as a dot with its interval, and that of all rows as a line.

    Args:
        slices: each with `name`, `rows`, `accuracy` and `accuracy_interval` (shares); where present, `group` puts a
            heading before the first slice of each group, `too_small` makes the dot hollow, and `beyond_chance`
            colours it. A slice without rows (`accuracy` None) has its name and no dot.
        overall: the share over all rows.
        unit: what the axis says.
        note: what the line says.
    """
    names = shorten([str(part["name"]) for part in slices], 40)
    lines = _lines(slices, [f"{name} ({part['rows']:,})" for name, part in zip(names, slices, strict=True)])
    labels = [label for label, _ in lines]
    figure = new_figure(5.2 + label_width(labels or [""]), 1.55 + PITCH * max(len(lines), 1), title)
    axes = figure.subplots()
    if not lines:
        return _say_none(axes, figure, "there is nothing to compare")
    axes.axvline(100 * overall, color=MUTED, linewidth=1, linestyle="--", zorder=1)
    drawn: dict[str, Any] = {}
    for place, (_, part) in enumerate(lines):
        if part is not None and part["accuracy"] is not None:
            _whisker(axes, place, part, drawn)
    _rows_axis(axes, labels)
    for tick, (_, part) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if part is not None else "bold")
    _share_axis(axes, slices, overall)
    axes.set_xlabel(f"{unit}, 95 % intervals (rows in brackets)")
    grid(axes, "x")
    drawn[f"{note}: {percent(overall)} %"] = axes.lines[0]
    figure.legend(
        list(drawn.values()), list(drawn), loc="outside lower center", ncols=1 if len(drawn) > 2 else 2
    )
    return figure


def deletion(curve: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw how far the answer's probability falls when words are deleted: those that weigh most, and any.

    Args:
        curve: by number of words deleted (`words`): `texts`, and `top` and `random`, the intervals of the mean
            fall (limits None where one text alone gives no interval).
    """
    figure = new_figure(6.4, 3.6, title)
    axes = figure.subplots()
    if not curve:
        return _say_none(axes, figure, "no text was explained")
    places = range(len(curve))
    for key, label, colour, mark in (
        ("top", "the words that weigh most", VERMILION, "o"),
        ("random", "words drawn at random", BLUE, "s"),
    ):
        means = [100 * step[key]["value"] for step in curve]
        offset = -0.05 if key == "top" else 0.05
        axes.plot(
            [place + offset for place in places], means, color=colour, marker=mark, label=label, zorder=3
        )
        for place, step in enumerate(curve):
            if step[key]["low"] is not None:
                ends = [100 * step[key]["low"], 100 * step[key]["high"]]
                axes.plot([place + offset] * 2, ends, color=colour, linewidth=1.2, zorder=2)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xticks(
        places,
        [f"{step['words']}\n{step['texts']} {'text' if step['texts'] == 1 else 'texts'}" for step in curve],
    )
    axes.set_xlim(-0.4, len(curve) - 0.6)
    axes.set_xlabel("words deleted")
    axes.set_ylabel("fall of the answer's\nprobability (points)")
    grid(axes, "y")
    axes.legend(loc="upper left")
    return figure


def _whisker(axes: Axes, place: int, part: Mapping[str, Any], drawn: dict[str, Any]) -> None:
    """Draw one dot with its interval and keep its handle under what its look means."""
    small, beyond = part.get("too_small", False), part.get("beyond_chance")
    if small:
        colour, meaning = MUTED, "too few rows to tell"
    elif beyond:
        colour, meaning = VERMILION, "differs from the other rows beyond chance"
    else:
        colour, meaning = BLUE, "no difference beyond chance" if beyond is not None else "share of the rows"
    limits = [100 * part["accuracy_interval"][end] for end in ("low", "high")]
    axes.plot(limits, [place, place], color=colour, linewidth=1.6, zorder=2)
    (dot,) = axes.plot(
        [100 * part["accuracy"]],
        [place],
        color=colour,
        marker="D" if beyond and not small else "o",
        markerfacecolor="white" if small else colour,
        markersize=6,
        linestyle="none",
        zorder=3,
    )
    drawn.setdefault(meaning, dot)


def _lines(
    slices: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[tuple[str, Mapping[str, Any] | None]]:
    """Return what stands in each row of the figure: a slice, or the heading (None) of those that follow."""
    lines: list[tuple[str, Mapping[str, Any] | None]] = []
    group = None
    for name, part in zip(names, slices, strict=True):
        if part.get("group") is not None and part["group"] != group:
            group = part["group"]
            lines.append((str(group), None))
        lines.append((name, part))
    return lines


def _rows_axis(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def _share_axis(axes: Axes, slices: Sequence[Mapping[str, Any]], overall: float) -> None:
    """Let the axis begin where the dots do: a wide whisker of a small slice may run out of the picture."""
    dots = [overall] + [
        part["accuracy"] if part.get("too_small") else part["accuracy_interval"]["low"]
        for part in slices
        if part["accuracy"] is not None
    ]
    tops = [overall] + [part["accuracy_interval"]["high"] for part in slices if part["accuracy"] is not None]
    low, high = min(dots), max(tops)
    margin = 0.06 * max(high - low, LEAST_SPAN)
    low = min(low - margin, high - LEAST_SPAN)
    axes.set_xlim(100 * max(low, -0.01), 100 * min(high + margin, 1.01))


def _with_rest(title: str, pairs: Sequence[Any], most: int, in_all: int | None) -> str:
    there_are = len(pairs) if in_all is None else in_all
    shown = min(len(pairs), most)
    return title if shown >= there_are else f"{title}\nthe {shown} most frequent of {there_are:,} pairs"


def _say_none(axes: Axes, figure: Figure, text: str) -> Figure:
    axes.set_facecolor(UNDEFINED)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, transform=axes.transAxes)
    return figure
