"""Figures over training and over confidence: the two losses, validation accuracy, right and wrong answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from submillion.report.theme import BLUE, INK, MUTED, RIGHT, VERMILION, WRONG, grid, new_figure, percent

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY_POINTS = 60  # more logged losses than this are noise to the eye; a running mean is drawn over them
BIN = 0.025  # width of a confidence bin


def loss(logged: Sequence[dict[str, Any]], evaluated: Sequence[dict[str, Any]], title: str) -> Figure:
    """Draw training loss by step and validation loss by evaluation, nats per text.

    Args:
        logged: history records of kind `train` (`step`, `loss`).
        evaluated: history records of kind `eval` (`step`, `loss`).
    """
    figure = new_figure(6.4, 3.8, title)
    axes = figure.subplots()
    if logged:
        steps, losses = [record["step"] for record in logged], [record["loss"] for record in logged]
        if len(logged) > MANY_POINTS:
            window = len(logged) // 20 | 1
            axes.plot(steps, losses, color=BLUE, linewidth=0.7, alpha=0.4, label="training, as logged")
            axes.plot(steps, running_mean(losses, window), color=BLUE, label=f"training, mean of {window}")
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


def accuracy(evaluated: Sequence[dict[str, Any]], best_step: int | None, title: str) -> Figure:
    """Draw validation accuracy by evaluation, the chosen one marked.

    Args:
        evaluated: history records of kind `eval` (`step`, `epoch`, `accuracy`).
        best_step: step of the evaluation whose adapter was kept; None where the run does not tell.
    """
    figure = new_figure(6.4, 3.8, title)
    axes = figure.subplots()
    steps = [record["step"] for record in evaluated]
    values = [100 * record["accuracy"] for record in evaluated]
    axes.plot(steps, values, color=BLUE, marker="o")
    span = max(max(values) - min(values), 2.0)  # never zoom into less than two points
    axes.set_ylim(min(values) - 0.2 * span, max(values) + 0.3 * span)
    for record in evaluated:
        if record["step"] == best_step:
            _mark_chosen(axes, record, max(steps))
    axes.set_ylabel("accuracy (%)")
    _step_axis(axes, evaluated)
    return figure


def confidence(top: np.ndarray, right: np.ndarray | None, title: str) -> Figure:
    """Draw how often each confidence was given: right answers above, wrong ones below, each on its own scale.

    Args:
        top: probability of the predicted class per row, [N].
        right: whether the row was answered right, bool [N]; None for unlabelled rows: one panel.
    """
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    if right is None:
        panels = [("answers", top, RIGHT)]
    else:
        panels = [("right", top[right], RIGHT), ("wrong", top[~right], WRONG)]
    heights = [1.6 if len(values) else 0.3 for _, values, _ in panels]
    figure = new_figure(6.4, 1.5 + sum(heights), title)
    all_axes = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    edges = np.linspace(0, 1, round(1 / BIN) + 1)
    first = edges[max(int(np.searchsorted(edges, top.min(), side="right")) - 1, 0)]
    for axes, (name, values, colour) in zip(all_axes, panels, strict=True):
        axes.hist(values, bins=edges.tolist(), color=colour, edgecolor="white", linewidth=0.5)
        middle = f", median {percent(float(np.median(values)))} %" if len(values) else ""
        axes.set_title(f"{len(values):,} {name}{middle}", color=colour, fontweight="bold")
        axes.set_ylabel("rows")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        grid(axes, "y")
        if not len(values):
            axes.set_yticks([])
            axes.set_ylabel("")
    ticks = np.linspace(0, 1, 11)
    all_axes[-1].set_xticks(ticks, [f"{100 * tick:.0f}" for tick in ticks])
    all_axes[-1].set_xlim(float(first), 1.0)
    all_axes[-1].set_xlabel("confidence: probability of the answer given (%)")
    return figure


def running_mean(values: Sequence[float], window: int) -> np.ndarray:
    """Return the centred mean over `window` (odd) values; the window shrinks evenly towards both ends."""
    import numpy as np

    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    reach = np.minimum(np.minimum(place, place[::-1]), window // 2)
    return (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1)


def _mark_chosen(axes: Axes, record: dict[str, Any], last_step: int) -> None:
    """Ring the chosen evaluation and say its epoch and value, on the side where there is room."""
    step, value = record["step"], 100 * record["accuracy"]
    axes.plot(
        [step], [value], marker="o", markersize=12, fillstyle="none", color=VERMILION, markeredgewidth=2
    )
    left = step > last_step / 2
    axes.annotate(
        f"chosen: epoch {record['epoch']:g}, {value:.2f} %",
        (step, value),
        xytext=(-4 if left else 4, 12),
        textcoords="offset points",
        ha="right" if left else "left",
        color=INK,
    )


def _step_axis(axes: Axes, evaluated: Sequence[dict[str, Any]]) -> None:
    """Name the step axis, start it at 0, and rule a thin line where an epoch ended."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("optimizer step")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True))
    grid(axes, "y")
    for record in evaluated:
        if float(record["epoch"]).is_integer():
            axes.axvline(record["step"], color=MUTED, linewidth=0.5, alpha=0.5, zorder=0)
