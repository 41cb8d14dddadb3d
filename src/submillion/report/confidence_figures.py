"""Figures of confidence: its distribution, the reliability diagram, and the risk-coverage curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from submillion.report.theme import BLUE, CORRECT, INK, MUTED, VERMILION, WIDTH, WRONG, grid, new_figure
from submillion.wording import percent, percent_range

BIN = 0.025  # width of a bin of the histogram
MIN_COVERAGE = 0.02  # below it, a single row moves the risk so far that it would set the scale


def confidence_histogram(top: np.ndarray, correct: np.ndarray | None, title: str) -> Figure:
    """Draw the distribution of confidence: of correct predictions above and wrong ones below, each to its own scale.

    Args:
        top: probability of the predicted class per row, [N].
        correct: whether the prediction is correct, bool [N]; None for unlabelled rows, which get a single panel.
        title: of the figure.
    """
    if correct is None:
        panels = [("predictions", top, CORRECT)]
    else:
        panels = [("correct", top[correct], CORRECT), ("wrong", top[~correct], WRONG)]
    heights = [1.2 if len(values) else 0.3 for _, values, _ in panels]
    figure = new_figure(WIDTH, 1.4 + sum(heights), title)
    all_axes = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    edges = np.linspace(0, 1, round(1 / BIN) + 1)
    first = edges[max(int(np.searchsorted(edges, top.min(), side="right")) - 1, 0)]
    for axes, (name, values, colour) in zip(all_axes, panels, strict=True):
        axes.hist(values, bins=edges.tolist(), color=colour, edgecolor="white", linewidth=0.5)
        median = f", median {percent(float(np.median(values)))}" if len(values) else ""
        axes.set_title(f"{len(values):,} {name}{median}", color=colour, fontweight="bold")
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
    all_axes[-1].set_xlabel("confidence: probability of the predicted class (%)")
    return figure


def reliability_diagram(confidence: Mapping[str, Any], split: str, title: str) -> Figure:
    """Draw accuracy against confidence by bin, uncalibrated and, on test, with the fitted temperature.

    All bins hold the same number of rows, and most bins of a good classifier are at the upper end of the diagram.
    The second panel therefore shows accuracy minus confidence of each bin over the rows ordered by confidence.

    Args:
        confidence: the part "confidence" of a run's analysis.
        split: one of its splits.
        title: of the figure.
    """
    sets = [("uncalibrated", confidence["splits"][split]["reliability"], BLUE, "o")]
    temperature = confidence["temperature"]
    if temperature and temperature.get(split):
        name = f"at temperature {temperature['value']:.2f}"
        sets.append((name, temperature[split]["reliability"], VERMILION, "D"))
    figure = new_figure(WIDTH, 5.6, title)
    diagram, gaps = figure.subplots(2)
    diagram.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle="--", zorder=1)
    gaps.axhline(0, color=MUTED, linewidth=1, linestyle="--", zorder=1)
    for place, (name, bins, colour, marker) in enumerate(sets):
        style = {"color": colour, "marker": marker, "label": name, "zorder": 3 - place}
        confidences = [100 * entry["confidence"] for entry in bins]
        _with_intervals(diagram, confidences, bins, [0.0] * len(bins), style)
        shift = (place - (len(sets) - 1) / 2) * 25 / len(bins)  # so that neither hides the other
        _with_intervals(gaps, [middle + shift for middle in _middles(bins)], bins, confidences, style)
    lowest = min(entry["confidence"] for _, bins, _, _ in sets for entry in bins)
    low = 100 * min(
        [lowest] + [entry["accuracy_interval"]["low"] for _, bins, _, _ in sets for entry in bins]
    )
    diagram.set_xlim(max(100 * lowest - 4, 0), 101.5)
    diagram.set_ylim(max(low - 4, 0), 101.5)
    diagram.set_xlabel("mean confidence of the bin (%)")
    diagram.set_ylabel("accuracy of the bin (%)")
    gaps.set_xlim(0, 100)
    gaps.set_xlabel("rows, from lowest to highest confidence (%)")
    gaps.set_ylabel("accuracy minus confidence (points)")
    for axes in (diagram, gaps):
        grid(axes, "y")
    handles, names = diagram.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(sets))
    return figure


def risk_coverage_curve(confidence: Mapping[str, Any], split: str, title: str) -> Figure:
    """Draw risk (share of wrong predictions) against coverage (share of rows answered), and the abstention policy.

    The curve begins at a coverage of 2%.

    Args:
        confidence: the part "confidence" of a run's analysis.
        split: one of its splits.
        title: of the figure.
    """
    scores, policy = confidence["splits"][split], confidence["policy"]
    curve = scores["risk_coverage"]
    begin = sum(coverage < MIN_COVERAGE for coverage in curve["coverage"][:-1])
    shares = [100 * value for value in curve["coverage"][begin:]]
    risk, low, high = (
        [100 * value for value in curve["risk"][name][begin:]] for name in ("value", "low", "high")
    )
    figure = new_figure(WIDTH, 3.2, title)
    axes = figure.subplots()
    axes.fill_between(shares, low, high, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(shares, risk, color=BLUE, marker="" if len(shares) > 1 else "o")
    axes.set_xlim(0, 100)
    # The intervals of few rows are wide; they are cut off where they would flatten the curve.
    axes.set_ylim(0, max(1.15 * max(risk), min(1.05 * max(high), max(2.5 * max(risk), 1.2 * high[-1]))))
    axes.set_xlabel("coverage: rows answered, highest confidence first (%)")
    axes.set_ylabel("risk: wrong among the answered (%)")
    grid(axes, "y")
    point = policy[split] if policy else None
    if point and point["answered"]:
        _mark_policy(axes, point, policy["target_accuracy"])
    return figure


def _with_intervals(
    axes: Axes,
    places: Sequence[float],
    bins: Sequence[Mapping[str, Any]],
    origin: Sequence[float],
    style: Mapping[str, Any],
) -> None:
    """Draw the accuracy of each bin minus `origin`, in percent, with its interval."""
    values = [100 * entry["accuracy"] for entry in bins]
    reach = [
        [value - 100 * entry["accuracy_interval"]["low"] for value, entry in zip(values, bins, strict=True)],
        [100 * entry["accuracy_interval"]["high"] - value for value, entry in zip(values, bins, strict=True)],
    ]
    heights = [value - start for value, start in zip(values, origin, strict=True)]
    axes.errorbar(
        places, heights, yerr=reach, linestyle="none", markersize=4.5, elinewidth=1, capsize=0, **style
    )


def _middles(bins: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the middle of each bin among all rows, in percent."""
    total = sum(entry["rows"] for entry in bins)
    middles, before = [], 0
    for entry in bins:
        middles.append(100 * (before + entry["rows"] / 2) / total)
        before += entry["rows"]
    return middles


def _mark_policy(axes: Axes, point: Mapping[str, Any], target: float) -> None:
    """Circle and label the point of the policy's threshold on this split."""
    coverage, risk = 100 * point["coverage"], 100 * (1 - point["accuracy"])
    axes.plot(
        [coverage],
        [risk],
        marker="o",
        markersize=10,
        fillstyle="none",
        color=VERMILION,
        markeredgewidth=2,
        clip_on=False,
    )
    limits = percent_range(point["accuracy_interval"]["low"], point["accuracy_interval"]["high"])
    right = coverage > 55  # the curve rises to the right, so there is room on the left above it
    height = min(max(risk / axes.get_ylim()[1] + 0.22, 0.45), 0.85)
    axes.annotate(
        f"policy for {percent(target)} accuracy:\n{percent(point['coverage'])} answered,\n"
        f"{percent(point['accuracy'])} of them correct\n({limits})",
        (coverage, risk),
        xytext=(coverage / 100 + (-0.06 if right else 0.06), height),
        textcoords="axes fraction",
        ha="right" if right else "left",
        va="center",
        color=INK,
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.8, "shrinkB": 7},
    )
