"""Figures of the training: training and validation loss, and validation accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from submillion.report.theme import BLUE, INK, MUTED, VERMILION, WIDTH, grid, new_figure
from submillion.wording import percent

MANY_POINTS = 60  # above this many logged losses a running mean is drawn over them
MIN_SPAN = 2.0  # percentage points: never zoom in further


def loss_curves(logged: Sequence[dict[str, Any]], evaluated: Sequence[dict[str, Any]], title: str) -> Figure:
    """Draw training loss by step and validation loss by evaluation, in nats per text.

    Args:
        logged: history records of kind `train` (`step`, `loss`).
        evaluated: history records of kind `eval` (`step`, `loss`).
        title: of the figure.
    """
    figure = new_figure(WIDTH, 3.2, title)
    axes = figure.subplots()
    if logged:
        steps, losses = [record["step"] for record in logged], [record["loss"] for record in logged]
        if len(logged) > MANY_POINTS:
            window = len(logged) // 20 | 1
            axes.plot(steps, losses, color=BLUE, linewidth=0.7, alpha=0.4, label="training, as logged")
            label = f"training, mean of {window} records"
            axes.plot(steps, running_mean(losses, window), color=BLUE, label=label)
        else:
            axes.plot(steps, losses, color=BLUE, marker="" if len(logged) > 1 else "o", label="training")
    if evaluated:
        axes.plot(
            [record["step"] for record in evaluated],
            [record["loss"] for record in evaluated],
            color=VERMILION,
            marker="o",
            linestyle="--",
            label="validation",
        )
    axes.set_ylabel("loss (nats per text)")
    axes.set_ylim(bottom=0)
    _step_axis(axes, evaluated)
    axes.legend(loc="best")
    return figure


def accuracy_curve(evaluated: Sequence[dict[str, Any]], best_step: int | None, title: str) -> Figure:
    """Draw validation accuracy by evaluation, with the selected checkpoint marked.

    Args:
        evaluated: history records of kind `eval` (`step`, `epoch`, `accuracy`).
        best_step: step of the selected checkpoint; None if the run does not record it.
        title: of the figure.
    """
    figure = new_figure(WIDTH, 3.2, title)
    axes = figure.subplots()
    steps = [record["step"] for record in evaluated]
    values = [100 * record["accuracy"] for record in evaluated]
    axes.plot(steps, values, color=BLUE, marker="o")
    span = max(max(values) - min(values), MIN_SPAN)
    axes.set_ylim(min(values) - 0.2 * span, max(values) + 0.3 * span)
    for record in evaluated:
        if record["step"] == best_step:
            _mark_selected(axes, record, max(steps))
    axes.set_ylabel("accuracy (%)")
    _step_axis(axes, evaluated)
    return figure


def running_mean(values: Sequence[float], window: int) -> np.ndarray:
    """Return the centred mean over `window` (odd) values; the window shrinks symmetrically towards both ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    reach = np.minimum(np.minimum(place, place[::-1]), window // 2)
    means: np.ndarray = (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1)
    return means


def _mark_selected(axes: Axes, record: dict[str, Any], last_step: int) -> None:
    """Circle the selected evaluation and write its epoch and value on the side that has room."""
    step, value = record["step"], 100 * record["accuracy"]
    axes.plot(
        [step], [value], marker="o", markersize=12, fillstyle="none", color=VERMILION, markeredgewidth=2
    )
    left = step > last_step / 2
    axes.annotate(
        f"selected: epoch {record['epoch']:g}, {percent(record['accuracy'], 2)}",
        (step, value),
        xytext=(-4 if left else 4, 12),
        textcoords="offset points",
        ha="right" if left else "left",
        color=INK,
    )


def _step_axis(axes: Axes, evaluated: Sequence[dict[str, Any]]) -> None:
    """Label the step axis, start it at 0, and draw a thin line at the end of each epoch."""
    axes.set_xlabel("optimizer step")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    grid(axes, "y")
    for record in evaluated:
        if float(record["epoch"]).is_integer():
            axes.axvline(record["step"], color=MUTED, linewidth=0.5, alpha=0.5, zorder=0)
