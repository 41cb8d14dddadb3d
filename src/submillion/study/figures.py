"""The figures of a study: what each axis does, and which cells are worth their parameters and their time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.atomic import atomic_dir
from submillion.report.intervals import PITCH, draw_intervals
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
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COSTS = {"trainable": "trainable parameters", "wall_seconds": "seconds of training"}


def draw(found: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Draw a study's figures as svg and png into a folder, in place of those that were there.

    Args:
        found: what `judge` gives.

    Returns:
        Title -> svg: `effects`, and `pareto_<cost>` for each cost, as far as there are runs.
    """
    measure = found["objective"].replace("macro_f1", "macro F1")
    seeds = f"validation, {len(found['seeds'])} seeds"
    if "search" in found:
        seeds = f"validation, 1 seed, base and best {len(found['seeds'])} seeds"
    planned: list[tuple[str, str, Figure]] = []
    with house_style():
        effects = [effect for effect in found["effects"] if effect["difference"] is not None]
        if effects:
            title = f"What each axis does to {measure}\n{seeds}; 95 % intervals over seeds"
            planned.append(("effects", title, effects_figure(effects, title)))
        for cost, words in COSTS.items():
            cells = [cell for cell in found["cells"] if cell["accuracy"] and cell[cost] is not None]
            if len(cells) > 1:
                title = f"{measure[:1].upper()}{measure[1:]} against {words}\n{seeds}; bars: one deviation"
                best = found["pareto"][cost]
                figure = pareto_figure(cells, best, found["objective"], cost, title)
                planned.append((f"pareto_{cost}", title, figure))

        def fill(place: Path) -> None:
            for name, title, figure in planned:
                save(figure, place, name, title.replace("\n", ", "))

        atomic_dir(folder, fill)
    return {
        title.replace("\n", ", "): (folder / f"{name}.svg").read_text(encoding="utf-8")
        for name, title, _ in planned
    }


def effects_figure(effects: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw each effect with its interval; one that is shown, after Holm's correction, in orange."""
    names = shorten(
        [f"{effect['axis']}: {effect['level']} / {effect['base_level']}" for effect in effects], 56
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
    cells: Sequence[Mapping[str, Any]], best: Sequence[str], objective: str, cost: str, title: str
) -> Figure:
    """Draw every cell's mean score against a cost; those that no other one beats are joined and named."""
    figure = new_figure(6.4, 4.2, title)
    axes = figure.subplots()
    for cell in cells:
        score = cell[objective]
        colour = BLUE if cell["name"] in best else MUTED
        deviation = 100 * (score["deviation"] or 0.0)
        axes.errorbar(
            cell[cost], 100 * score["mean"], yerr=deviation, color=colour, marker="o", markersize=5, capsize=2
        )
    front = sorted((cell for cell in cells if cell["name"] in best), key=lambda cell: float(cell[cost]))
    axes.plot(
        [cell[cost] for cell in front],
        [100 * cell[objective]["mean"] for cell in front],
        color=BLUE,
        linewidth=1.0,
    )
    for cell, name in zip(front, shorten([cell["name"] for cell in front], 36), strict=True):
        axes.annotate(
            name,
            (cell[cost], 100 * cell[objective]["mean"]),
            xytext=(4, 6),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_xlabel(COSTS[cost])
    axes.set_ylabel(f"{objective.replace('macro_f1', 'macro F1')} (%)")
    axes.margins(x=0.2)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    grid(axes, "y")
    return figure
