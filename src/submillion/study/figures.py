"""The figures of a study: the effect of each axis, and the scores of the cells against their costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from submillion.files.atomic import atomic_dir
from submillion.report.drawn_names import drawn
from submillion.report.interval_figure import PITCH, draw_intervals
from submillion.report.theme import (
    BLUE,
    INK,
    MUTED,
    VERMILION,
    grid,
    house_style,
    label_width,
    new_figure,
    save,
)
from submillion.study.sentences import MEASURES
from submillion.wording import capitalized, plural

COSTS = {"trainable": "trainable parameters", "wall_seconds": "training time (s)"}


def draw(findings: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Draw the figures of a study as svg and png into a folder, in place of earlier ones.

    Args:
        findings: as `compute_findings` returns them.
        folder: replaced as a whole.

    Returns:
        Title -> svg: `effects`, and `pareto_<cost>` for each cost, as far as there are runs.
    """
    measure, seeds = MEASURES[findings["objective"]], plural(len(findings["seeds"]), "seed")
    basis = f"validation, {seeds}"
    if "search" in findings:
        basis = f"validation, 1 seed; base and best cell {seeds}"
    planned: list[tuple[str, str, Figure]] = []
    with house_style():
        effects = [effect for effect in findings["effects"] if effect["difference"] is not None]
        if effects:
            title = f"Effect of each axis on {measure}\n{basis}; 95% intervals over seeds"
            planned.append(("effects", title, effects_figure(effects, title)))
        for cost, axis_label in COSTS.items():
            cells = [cell for cell in findings["cells"] if cell["accuracy"] and cell[cost] is not None]
            if len(cells) > 1:
                against = axis_label.removesuffix(" (s)")
                title = f"{capitalized(measure)} against {against}\n{basis}; bars: one standard deviation"
                figure = pareto_figure(cells, findings["pareto"][cost], findings["objective"], cost, title)
                planned.append((f"pareto_{cost}", title, figure))

        def fill(folder: Path) -> None:
            for name, title, figure in planned:
                save(figure, folder, name, title.replace("\n", ", "))

        atomic_dir(folder, fill)
    return {
        title.replace("\n", ", "): (folder / f"{name}.svg").read_text(encoding="utf-8")
        for name, title, _ in planned
    }


def effects_figure(effects: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw each effect with its interval; those shown after Holm's correction are orange."""
    names = drawn(
        [f"{effect['axis']}: {effect['level']} / {effect['base_level']}" for effect in effects], "effect", 56
    )
    figure = new_figure(4.4 + label_width(names), 1.6 + PITCH * len(names), title)
    axes = figure.subplots()
    draw_intervals(
        axes,
        names,
        [effect["difference_interval"] for effect in effects],
        [VERMILION if effect["shown"] else MUTED for effect in effects],
    )
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    axes.set_xlabel("difference to the base (points); orange: difference shown")
    return figure


def pareto_figure(
    cells: Sequence[Mapping[str, Any]], front: Sequence[str], objective: str, cost: str, title: str
) -> Figure:
    """Draw the mean score of every cell against a cost; the cells of the Pareto front are joined and labelled."""
    figure = new_figure(6.4, 4.2, title)
    axes = figure.subplots()
    for cell in cells:
        score = cell[objective]
        axes.errorbar(
            cell[cost],
            100 * score["mean"],
            yerr=100 * (score["deviation"] or 0.0),
            color=BLUE if cell["name"] in front else MUTED,
            marker="o",
            markersize=5,
            capsize=2,
        )
    on_front = sorted((cell for cell in cells if cell["name"] in front), key=lambda cell: float(cell[cost]))
    places = [(cell[cost], 100 * cell[objective]["mean"]) for cell in on_front]
    axes.plot([x for x, _ in places], [y for _, y in places], color=BLUE, linewidth=1.0)
    for place, name in zip(places, drawn([cell["name"] for cell in on_front], "cell", 36), strict=True):
        axes.annotate(name, place, xytext=(4, 6), textcoords="offset points", fontsize=8)
    axes.set_xlabel(COSTS[cost])
    axes.set_ylabel(f"{MEASURES[objective]} (%)")
    axes.margins(x=0.2)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    grid(axes, "y")
    return figure
