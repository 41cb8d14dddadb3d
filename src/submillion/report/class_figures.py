"""Figures by class: the confusion matrix in counts and percentages, and precision, recall and F1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from submillion.report.drawn_names import drawn
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
    width_for,
)
from submillion.wording import percent_number

MAX_CLASSES = 40
"""With more classes, the figures of classes show FEWER_CLASSES of them, of which the cells still hold numbers."""
FEWER_CLASSES = 24
MAX_NUMBERED = 25  # with more classes the cells are too small for numbers; a colour bar replaces them
WHITE_FROM = 0.71  # darkness from which white text has more contrast than black; both have 4.5 there
_SCALE_TICKS = [0.0, 0.25, 0.5, 0.75, 1.0]


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return the number of rows by true class (row) and predicted class (column), int [C, C].

    Args:
        labels: class index per row, int [N].
        predicted: class index per row, int [N].
        classes: C.
    """
    return np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes * classes).reshape(
        classes, classes
    )


def normalized(counts: np.ndarray, by: Literal["row", "column"]) -> np.ndarray:
    """Return the counts as shares of their row or column, float [C, C]; NaN if that is empty."""
    sums = counts.sum(axis=1 if by == "row" else 0, keepdims=True)
    return _ratio(counts, sums)


def confusion_matrix(
    counts: np.ndarray, names: Sequence[str], by: Literal["count", "row", "column"], title: str
) -> Figure:
    """Draw the confusion matrix in counts, or in percent of each true or each predicted class.

    Args:
        counts: [C, C], rows true, columns predicted.
        names: C class names.
        by: `count`, or `row` and `column` for percentages of the true and the predicted class.
        title: of the figure.
    """
    size = len(names)
    values = counts.astype(float) if by == "count" else normalized(counts, by)
    shown = drawn(names)
    cell, margin, scale_bar = cell_size(size), label_width(shown), size > MAX_NUMBERED
    below = 0.15 if margin < cell else 0.75 * margin  # names wider than their cell are slanted
    width = size * cell + margin + (1.6 if scale_bar else 0.5)
    figure = new_figure(max(width, 4.6), size * cell + below + 0.95, title)
    axes = figure.subplots()
    # Shaded by the square root of the value, so that a class of 10 rows is visible beside one of 1,000.
    maximum = max(float(counts.max()), 1.0) if by == "count" else 1.0
    darkness = np.sqrt(values / maximum)
    axes.set_facecolor(UNDEFINED)
    image = axes.imshow(darkness, cmap=SHADES, vmin=0, vmax=1, aspect="equal")
    _label_axes(axes, shown, slanted=margin >= cell)
    if scale_bar:
        bar = figure.colorbar(image, ax=axes, shrink=0.5, label="rows" if by == "count" else "%")
        whole = maximum if by == "count" else 100
        bar.set_ticks(_SCALE_TICKS, labels=[f"{whole * tick * tick:,.0f}" for tick in _SCALE_TICKS])
    else:
        _write_cells(axes, values, darkness, by)
    return figure


def most_confused(counts: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, list[str], str]:
    """Merge all but the most confused classes into one, if there are more than a figure can show.

    Args:
        counts: [C, C], rows true, columns predicted.
        names: C class names.

    Returns:
        The counts [S, S] and names of the classes to show, in the order of the classes, and a line for the figure's
        heading that says which these are (empty if all are shown).
    """
    if len(names) <= MAX_CLASSES:
        return counts, list(names), ""
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    kept = np.sort(np.argsort(-mistakes, kind="stable")[:FEWER_CLASSES])
    group = np.full(len(names), FEWER_CLASSES)
    group[kept] = np.arange(FEWER_CLASSES)
    merged = np.zeros((FEWER_CLASSES + 1,) * 2, dtype=counts.dtype)
    np.add.at(merged, (group[:, None], group[None, :]), counts)
    others = len(names) - FEWER_CLASSES
    return (
        merged,
        [*(names[index] for index in kept), f"{others:,} other classes"],
        f"the {FEWER_CLASSES} most confused of {len(names):,} classes, and the others together, with the confusions "
        "among them",
    )


def lowest_f1(counts: np.ndarray, names: Sequence[str]) -> tuple[list[int], str]:
    """Return the indices of the classes that a figure of scores shows, and a line for its heading (empty if all).

    Of more classes than a figure can show, they are those with the lowest F1, lowest first; of equal ones, those with
    the most rows. A class without rows and predictions has no F1 and comes last.

    Args:
        counts: [C, C], rows true, columns predicted.
        names: C class names.
    """
    if len(names) <= MAX_CLASSES:
        return list(range(len(names))), ""
    support = counts.sum(axis=1)
    f1 = _ratio(2 * counts.diagonal(), support + counts.sum(axis=0))
    order = np.lexsort((-support, np.nan_to_num(f1, nan=2.0)))[:FEWER_CLASSES]
    return order.tolist(), f"the {FEWER_CLASSES} classes with the lowest F1, of {len(names):,}"


def cell_size(classes: int) -> float:
    """Return the side of a cell of the confusion matrix in inches; smaller with more classes."""
    for limit, inches in ((5, 0.62), (8, 0.5), (12, 0.46), (MAX_NUMBERED, 0.42)):
        if classes <= limit:
            return inches
    return 0.24


def per_class_scores(
    counts: np.ndarray, names: Sequence[str], title: str, shown: Sequence[int] | None = None
) -> Figure:
    """Draw precision, recall and F1 of classes as bars with their values, and the rows of each class.

    An undefined score (a class without rows, or never predicted) is written as 'undefined' instead of a bar.

    Args:
        counts: [C, C], rows true, columns predicted.
        names: C class names.
        title: of the figure.
        shown: indices of the classes to draw; None draws all.
    """
    places = list(range(len(names))) if shown is None else list(shown)
    right = counts.diagonal()[places]
    support, answers = counts.sum(axis=1)[places], counts.sum(axis=0)[places]
    scores = {
        "precision": _ratio(right, answers),
        "recall": _ratio(right, support),
        "F1": _ratio(2 * right, support + answers),
    }
    all_drawn = drawn(names)
    labels = [f"{all_drawn[place]} ({count:,})" for place, count in zip(places, support, strict=True)]
    size = len(places)
    pitch, points = (0.46, 7.0) if size <= MAX_NUMBERED else (0.42, 5.5)
    figure = new_figure(width_for(labels), 1.25 + pitch * size, title)
    axes = figure.subplots()
    place = np.arange(size)
    for index, (score, colour) in enumerate(zip(scores, (PRECISION, RECALL, F1), strict=True)):
        offset = (index - 1) * 0.26
        values = scores[score]
        axes.barh(place + offset, np.nan_to_num(values), height=0.24, color=colour, label=score)
        for row, value in enumerate(values):
            text = "undefined" if np.isnan(value) else percent_number(value)
            axes.text(
                np.nan_to_num(value) + 0.008, row + offset, text, va="center", fontsize=points, color=INK
            )
    axes.set_yticks(place, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(size - 0.5, -0.5)
    axes.set_xlim(0, 1.09)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{100 * tick:.0f}" for tick in np.linspace(0, 1, 6)])
    axes.set_xlabel("% (rows of the class in parentheses)")
    grid(axes, "x")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole; NaN where `whole` is 0."""
    ratios: np.ndarray = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratios


def _label_axes(axes: Axes, shown: Sequence[str], slanted: bool) -> None:
    size = len(shown)
    points = 9 if size <= MAX_NUMBERED else 7
    axes.set_xticks(range(size), shown, fontsize=points)
    axes.set_yticks(range(size), shown, fontsize=points)
    if slanted:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    # Thin lines between the cells guide the eye along a row or column.
    axes.set_xticks([edge - 0.5 for edge in range(1, size)], minor=True)
    axes.set_yticks([edge - 0.5 for edge in range(1, size)], minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.8)
    axes.tick_params(which="minor", length=0)


def _write_cells(axes: Axes, values: np.ndarray, darkness: np.ndarray, by: str) -> None:
    """Write the value of each cell, white on dark; zeros are left out and undefined shares are dashes."""
    size = len(values)
    decimals = 1 if size <= 12 else 0
    # A cell of many classes is as wide as five digits of 8 points.
    short = by != "count" or values.max() < 1000
    points = 9 if size <= 8 else 8 if size <= 12 or short else 6.5
    for (row, column), value in np.ndenumerate(values):
        if value == 0:
            continue
        if np.isnan(value):
            text, colour = "-", MUTED
        else:
            text = f"{value:,.0f}" if by == "count" else percent_number(value, decimals)
            colour = "white" if darkness[row, column] >= WHITE_FROM else "black"
        written = axes.text(column, row, text, ha="center", va="center", fontsize=points, color=colour)
        written.set_in_layout(False)  # it is inside its cell; measuring each text is slow
