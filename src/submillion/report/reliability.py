"""Figures of confidence: do probabilities mean what they say, and what is gained by not answering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from submillion.report.theme import BLUE, INK, MUTED, VERMILION, grid, new_figure, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAINT_COVERAGE = 0.02  # the curve of the very surest rows leaps with every row and would set the scale


def reliability(found: Mapping[str, Any], split: str, title: str) -> Figure:
    """Draw accuracy against confidence by bin, as given and, on test, with the fitted temperature.

    Bins hold as many rows each; most of a good classifier's crowd at the upper end of the diagram. So beside it
    stands what each bin's accuracy is above or below its confidence, over the rows from least to most sure.

    Args:
        found: the part "confidence" of a run's analysis.
        split: one of its splits.
    """
    sets = [("as given", found["splits"][split]["reliability"], BLUE, "o")]
    heat = found["temperature"]
    if heat and heat.get(split):
        sets.append((f"at temperature {heat['value']:.2f}", heat[split]["reliability"], VERMILION, "D"))
    figure = new_figure(7.4, 4.1, title)
    diagram, gaps = figure.subplots(1, 2)
    diagram.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle="--", zorder=1)
    gaps.axhline(0, color=MUTED, linewidth=1, linestyle="--", zorder=1)
    for place, (name, bins, colour, marker) in enumerate(sets):
        style = {"color": colour, "marker": marker, "label": name, "zorder": 3 - place}
        claimed = [100 * entry["confidence"] for entry in bins]
        _with_intervals(diagram, claimed, bins, [0.0] * len(bins), style)
        aside = (place - (len(sets) - 1) / 2) * 25 / len(bins)  # so that neither hides the other
        _with_intervals(gaps, [middle + aside for middle in _middles(bins)], bins, claimed, style)
    least = min(entry["confidence"] for _, bins, _, _ in sets for entry in bins)
    low = 100 * min([least] + [entry["accuracy_interval"]["low"] for _, bins, _, _ in sets for entry in bins])
    diagram.set_xlim(max(100 * least - 4, 0), 101.5)
    diagram.set_ylim(max(low - 4, 0), 101.5)
    diagram.set_xlabel("mean confidence of the bin (%)")
    diagram.set_ylabel("accuracy of the bin (%)")
    gaps.set_xlim(0, 100)
    gaps.set_xlabel("rows, from least to most sure (%)")
    gaps.set_ylabel("accuracy minus confidence (points)")
    for axes in (diagram, gaps):
        grid(axes, "y")
    handles, names = diagram.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(sets))
    return figure


def risk_coverage(found: Mapping[str, Any], split: str, title: str) -> Figure:
    """Draw the share of wrong answers against the share of rows answered, surest first, and the policy's point.

    The curve begins where 2 % of the rows are answered.

    Args:
        found: the part "confidence" of a run's analysis.
        split: one of its splits.
    """
    scores, policy = found["splits"][split], found["policy"]
    curve = scores["risk_coverage"]
    begin = sum(coverage < FAINT_COVERAGE for coverage in curve["coverage"][:-1])
    shares = [100 * value for value in curve["coverage"][begin:]]
    risk, low, high = (
        [100 * value for value in curve["risk"][name][begin:]] for name in ("value", "low", "high")
    )
    figure = new_figure(6.4, 3.8, title)
    axes = figure.subplots()
    axes.fill_between(shares, low, high, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(shares, risk, color=BLUE, marker="" if len(shares) > 1 else "o")
    axes.set_xlim(0, 100)
    # The limits of few rows are wide; they are cut where they would press the curve flat.
    axes.set_ylim(0, max(1.15 * max(risk), min(1.05 * max(high), max(2.5 * max(risk), 1.2 * high[-1]))))
    axes.set_xlabel("coverage: rows answered, surest first (%)")
    axes.set_ylabel("risk: wrong among the answered (%)")
    grid(axes, "y")
    given = policy[split] if policy else None
    if given and given["answered"]:
        _mark_policy(axes, given, policy["target_accuracy"])
    return figure


def _with_intervals(
    axes: Axes,
    places: Sequence[float],
    bins: Sequence[Mapping[str, Any]],
    origin: Sequence[float],
    style: Mapping[str, Any],
) -> None:
    """Draw each bin's accuracy less `origin`, in %, with its interval."""
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
    """Return where the middle of each bin lies among all rows, in %."""
    total = sum(entry["rows"] for entry in bins)
    middles, before = [], 0
    for entry in bins:
        middles.append(100 * (before + entry["rows"] / 2) / total)
        before += entry["rows"]
    return middles


def _mark_policy(axes: Axes, given: Mapping[str, Any], target: float) -> None:
    """Ring the point that the policy's threshold gives on this split, and say it."""
    coverage, risk = 100 * given["coverage"], 100 * (1 - given["accuracy"])
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
    low, high = given["accuracy_interval"]["low"], given["accuracy_interval"]["high"]
    right = coverage > 55  # the curve climbs to the right: above it there is room on the left
    height = min(max(risk / axes.get_ylim()[1] + 0.22, 0.45), 0.85)
    axes.annotate(
        f"policy for {percent(target)} % right: {percent(given['coverage'])} % answered,\n"
        f"{percent(given['accuracy'])} % of them right ({percent(low)} to {percent(high)})",
        (coverage, risk),
        xytext=(coverage / 100 + (-0.06 if right else 0.06), height),
        textcoords="axes fraction",
        ha="right" if right else "left",
        va="center",
        color=INK,
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.8, "shrinkB": 7},
    )
