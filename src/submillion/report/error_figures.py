"""Figures of errors: confused pairs of classes, accuracy by slice, and the effect of deleting words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submillion.report.drawn_names import drawn
from submillion.report.theme import (
    BLUE,
    INK,
    MUTED,
    UNDEFINED,
    VERMILION,
    WIDTH,
    WRONG,
    grid,
    new_figure,
    width_for,
)
from submillion.wording import percent, plural, shorten

MAX_PAIRS = 15
PITCH = 0.3  # inches from one row of a figure to the next
MIN_SPAN = 0.05  # as a share: never zoom in further than five points of accuracy


def confused_pairs(
    pairs: Sequence[Mapping[str, Any]], title: str, max_pairs: int = MAX_PAIRS, total: int | None = None
) -> Figure:
    """Draw the most frequent confusions as bars, with their shares of the true class.

    Args:
        pairs: `true`, `predicted`, `rows` and `share` (of the rows of the true class), most frequent first.
        title: of the figure.
        max_pairs: the number of pairs to draw.
        total: the number of confused pairs, if `pairs` does not hold all of them.
    """
    shown = pairs[:max_pairs]
    names = shorten([f"{pair['true']} → {pair['predicted']}" for pair in shown], 34)
    figure = new_figure(
        width_for(names or [""]),
        1.25 + PITCH * max(len(shown), 1),
        _with_total(title, len(pairs), max_pairs, total),
    )
    axes = figure.subplots()
    if not shown:
        return _empty(axes, figure, "no row was misclassified")
    rows = [pair["rows"] for pair in shown]
    axes.barh(range(len(shown)), rows, height=0.62, color=WRONG)
    for place, pair in enumerate(shown):
        text = f"{pair['rows']:,}  ({percent(pair['share'])} of {shorten([pair['true']], 20)[0]})"
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
    # Room for the text after the longest bar.
    axes.set_xlim(0, max(rows) * 2.3)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("rows, true class → predicted class")
    return figure


def accuracy_by_slice(
    slices: Sequence[Mapping[str, Any]],
    overall: float,
    title: str,
    unit: str = "accuracy (%)",
    note: str = "accuracy of all rows",
) -> Figure:
    """Draw the share of each slice as a dot with its interval, and the share of all rows as a line.

    Args:
        slices: each with `name`, `rows`, `accuracy` and `accuracy_interval` (shares). Optional keys: `group` puts a
            heading before the first slice of each group, `too_small` makes the dot hollow, and `beyond_chance`
            colours it. A slice without rows (`accuracy` None) has no dot.
        overall: the share of all rows.
        title: of the figure.
        unit: label of the axis.
        note: label of the line.
    """
    names = drawn([str(part["name"]) for part in slices], "slice", 30)
    lines = _lines(slices, [f"{name} ({part['rows']:,})" for name, part in zip(names, slices, strict=True)])
    labels = [label for label, _ in lines]
    figure = new_figure(width_for(labels or [""]), 1.55 + PITCH * max(len(lines), 1), title)
    axes = figure.subplots()
    if not lines:
        return _empty(axes, figure, "no slices to compare")
    axes.axvline(100 * overall, color=MUTED, linewidth=1, linestyle="--", zorder=1)
    handles: dict[str, Any] = {}
    for place, (_, part) in enumerate(lines):
        if part is not None and part["accuracy"] is not None:
            _whisker(axes, place, part, handles)
    _rows_axis(axes, labels)
    for tick, (_, part) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if part is not None else "bold")
    _share_axis(axes, slices, overall)
    axes.set_xlabel(f"{unit}, 95% intervals (rows in parentheses)")
    grid(axes, "x")
    handles[f"{note}: {percent(overall)}"] = axes.lines[0]
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=1 if len(handles) > 2 else 2
    )
    return figure


def deletion_curve(curve: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw the drop of the predicted class' probability after deleting the most important and random words.

    Args:
        curve: by number of deleted words (`words`): `texts`, and `top` and `random`, the mean drop as an interval
            (limits None for a single text).
        title: of the figure.
    """
    figure = new_figure(WIDTH, 3.2, title)
    axes = figure.subplots()
    if not curve:
        return _empty(axes, figure, "no text was explained")
    places = range(len(curve))
    for key, label, colour, mark in (
        ("top", "the most important words", VERMILION, "o"),
        ("random", "random words", BLUE, "s"),
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
        [f"{step['words']}\n{plural(step['texts'], 'text')}" for step in curve],
    )
    axes.set_xlim(-0.4, len(curve) - 0.6)
    axes.set_xlabel("deleted words")
    axes.set_ylabel("drop of the predicted class'\nprobability (points)")
    grid(axes, "y")
    axes.legend(loc="upper left")
    return figure


def _whisker(axes: Axes, place: int, part: Mapping[str, Any], handles: dict[str, Any]) -> None:
    """Draw one dot with its interval, and record its handle for the legend."""
    small, beyond = part.get("too_small", False), part.get("beyond_chance")
    if small:
        colour, meaning = MUTED, "too few rows to test"
    elif beyond:
        colour, meaning = VERMILION, "significant difference to the other rows"
    else:
        colour, meaning = BLUE, "no significant difference" if beyond is not None else "share of the rows"
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
    handles.setdefault(meaning, dot)


def _lines(
    slices: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[tuple[str, Mapping[str, Any] | None]]:
    """Return the label of each line of the figure with its slice, or None for a heading."""
    lines: list[tuple[str, Mapping[str, Any] | None]] = []
    group = None
    for name, part in zip(names, slices, strict=True):
        if part.get("group") is not None and part["group"] != group:
            group = part["group"]
            lines.append((drawn([str(group)], "group", 44)[0], None))
        lines.append((name, part))
    return lines


def _rows_axis(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def _share_axis(axes: Axes, slices: Sequence[Mapping[str, Any]], overall: float) -> None:
    """Start the axis at the lowest dot: the wide interval of a small slice may leave the figure."""
    dots = [overall] + [
        part["accuracy"] if part.get("too_small") else part["accuracy_interval"]["low"]
        for part in slices
        if part["accuracy"] is not None
    ]
    tops = [overall] + [part["accuracy_interval"]["high"] for part in slices if part["accuracy"] is not None]
    low, high = min(dots), max(tops)
    margin = 0.06 * max(high - low, MIN_SPAN)
    low = min(low - margin, high - MIN_SPAN)
    axes.set_xlim(100 * max(low, -0.01), 100 * min(high + margin, 1.01))


def _with_total(title: str, pairs: int, max_pairs: int, total: int | None) -> str:
    total = pairs if total is None else total
    shown = min(pairs, max_pairs)
    return title if shown >= total else f"{title}\nthe {shown} most frequent of {total:,} pairs"


def _empty(axes: Axes, figure: Figure, text: str) -> Figure:
    axes.set_facecolor(UNDEFINED)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, transform=axes.transAxes)
    return figure
