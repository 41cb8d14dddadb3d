"""Figures by class: the confusion matrix three ways, and precision, recall and F1 as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from submillion.report.theme import (
    F1,
    GRID,
    INK,
    MUTED,
    PRECISION,
    RECALL,
    SHADES,
    UNDEFINED,
    grid,
    label_width,
    new_figure,
    percent,
    shorten,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_WRITTEN = 25  # with more classes the cells are too small for numbers; a colour scale tells them
WHITE_FROM = 0.71  # darkness from which white text has more contrast than black; both have 4.5 there
_SCALE_TICKS = [0.0, 0.25, 0.5, 0.75, 1.0]


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return how many rows of each true class (row) were given each class (column), int [C, C]."""
    import numpy as np

    return np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes * classes).reshape(
        classes, classes
    )


def shares(counts: np.ndarray, by: Literal["row", "column"]) -> np.ndarray:
    """Return the counts as shares of their row or column, float [C, C]; NaN where that has no rows."""
    import numpy as np

    sums = counts.sum(axis=1 if by == "row" else 0, keepdims=True)
    return np.divide(counts, sums, out=np.full(counts.shape, np.nan), where=sums > 0)


def confusion(
    counts: np.ndarray, names: Sequence[str], by: Literal["count", "row", "column"], title: str
) -> Figure:
    """Draw the confusion matrix in counts, or in per cent of each true or each predicted class.

    Args:
        counts: [C, C], rows true, columns predicted.
        names: the C class names.
    """
    import numpy as np

    size = len(names)
    values = counts.astype(float) if by == "count" else shares(counts, by)
    shown = shorten(names)
    cell, margin, scale_bar = cell_size(size), label_width(shown), size > MOST_WRITTEN
    below = 0.15 if margin < cell else 0.75 * margin  # names that do not fit under their cell stand slanted
    width = size * cell + margin + (1.6 if scale_bar else 0.5)
    figure = new_figure(max(width, 4.6), size * cell + below + 0.95, title)
    axes = figure.subplots()
    # Shaded by the root of the value: a class of 10 rows beside one of 1,000 still shows where it went.
    most = max(float(counts.max()), 1.0) if by == "count" else 1.0
    darkness = np.sqrt(values / most)
    axes.set_facecolor(UNDEFINED)
    image = axes.imshow(darkness, cmap=SHADES, vmin=0, vmax=1, aspect="equal")
    _label_axes(axes, shown, slanted=margin >= cell)
    if scale_bar:
        bar = figure.colorbar(image, ax=axes, shrink=0.5, label="rows" if by == "count" else "%")
        whole = most if by == "count" else 100
        bar.set_ticks(_SCALE_TICKS, labels=[f"{whole * tick * tick:,.0f}" for tick in _SCALE_TICKS])
    else:
        _write_cells(axes, values, darkness, by)
    return figure


def cell_size(classes: int) -> float:
    """Return the side of a confusion cell in inches: room for its number, less with many classes."""
    for most, inches in ((5, 0.72), (8, 0.62), (12, 0.5), (MOST_WRITTEN, 0.42)):
        if classes <= most:
            return inches
    return 0.24


def bars(counts: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Draw precision, recall and F1 of each class as bars with their values, its rows beside its name.

    An undefined score (no row of the class, or never predicted) is written as 'none' where its bar would be.
    """
    import numpy as np

    right = counts.diagonal()
    support, answers = counts.sum(axis=1), counts.sum(axis=0)
    scores = {
        "precision": _ratio(right, answers),
        "recall": _ratio(right, support),
        "F1": _ratio(2 * right, support + answers),
    }
    labels = [f"{name} ({count:,})" for name, count in zip(shorten(names), support, strict=True)]
    size = len(names)
    pitch, points = (0.56, 7.5) if size <= MOST_WRITTEN else (0.42, 5.5)
    figure = new_figure(4.6 + label_width(labels), 1.25 + pitch * size, title)
    axes = figure.subplots()
    place = np.arange(size)
    for index, (score, colour) in enumerate(zip(scores, (PRECISION, RECALL, F1), strict=True)):
        offset = (index - 1) * 0.26
        values = scores[score]
        axes.barh(place + offset, np.nan_to_num(values), height=0.24, color=colour, label=score)
        for row, value in enumerate(values):
            text = "none" if np.isnan(value) else percent(value)
            axes.text(
                np.nan_to_num(value) + 0.008, row + offset, text, va="center", fontsize=points, color=INK
            )
    axes.set_yticks(place, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(size - 0.5, -0.5)
    axes.set_xlim(0, 1.09)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{100 * tick:.0f}" for tick in np.linspace(0, 1, 6)])
    axes.set_xlabel("% (rows of the class in brackets)")
    grid(axes, "x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _label_axes(axes: Axes, shown: Sequence[str], slanted: bool) -> None:
    size = len(shown)
    points = 9 if size <= MOST_WRITTEN else 7
    axes.set_xticks(range(size), shown, fontsize=points)
    axes.set_yticks(range(size), shown, fontsize=points)
    if slanted:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    # Thin lines between the cells, to follow a row or a column by.
    axes.set_xticks([edge - 0.5 for edge in range(1, size)], minor=True)
    axes.set_yticks([edge - 0.5 for edge in range(1, size)], minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.8)
    axes.tick_params(which="minor", length=0)


def _write_cells(axes: Axes, values: np.ndarray, darkness: np.ndarray, by: str) -> None:
    """Write each cell's value, white on dark; a zero is left empty and an undefined share is a dash."""
    import numpy as np

    size = len(values)
    points = 9 if size <= 8 else 8 if size <= 12 else 6.5
    decimals = 1 if size <= 12 else 0
    for (row, column), value in np.ndenumerate(values):
        if value == 0:
            continue
        if np.isnan(value):
            text, colour = "-", MUTED
        else:
            text = f"{value:,.0f}" if by == "count" else percent(value, decimals)
            colour = "white" if darkness[row, column] >= WHITE_FROM else "black"
        written = axes.text(column, row, text, ha="center", va="center", fontsize=points, color=colour)
        written.set_in_layout(False)  # it lies inside its cell; asking each for its size is slow
