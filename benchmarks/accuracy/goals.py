"""The accuracies that `auto` is built to reach, beside the measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.accuracy.cells import Cell
from benchmarks.accuracy.differences import mean_of
from benchmarks.accuracy.results import Result
from benchmarks.accuracy.sets import AGNEWS, ALL, SETS, seeds_of


@dataclass(frozen=True)
class Goal:
    """What a method is to reach on a set and size."""

    set: str
    size: str
    method: str
    least: float
    moonshot: float
    quantity: str = "accuracy"
    """`accuracy`, in percent, or `macro_f1`, from 0 to 1."""


GOALS = (
    Goal(AGNEWS, "8", "auto-mpnet-base", 83.0, 86.0),
    Goal(AGNEWS, "16", "auto-mpnet-base", 86.0, 88.0),
    Goal(AGNEWS, "32", "auto-mpnet-base", 87.5, 89.0),
    Goal(AGNEWS, "64", "auto-mpnet-base", 88.5, 90.0),
    Goal(AGNEWS, "1000", "auto-mpnet-base", 89.5, 90.5),
    Goal(AGNEWS, ALL, "auto-mpnet-base", 92.3, 93.5),
    Goal("r8", ALL, "auto-minilm", 98.2, 98.6),
    Goal("r52", ALL, "auto-minilm", 96.6, 97.2),
    Goal("r52", ALL, "auto-minilm", 0.80, 0.85, "macro_f1"),
)


def goals(known: Mapping[Cell, Result]) -> str:
    """Return the goals as a markdown table with the measured means, their intervals and the distance."""
    lines = ["| cell | at least | moonshot | measured | distance to the least |", "|---|---:|---:|---:|---:|"]
    for goal in GOALS:
        cells = [Cell(goal.set, goal.size, seed, goal.method) for seed in seeds_of(goal.size)]
        percent = goal.quantity == "accuracy"
        scale, digits = (100, 1) if percent else (1, 3)
        values = [scale * float(getattr(known[cell], goal.quantity)) for cell in cells if cell in known]
        measured = distance = ""
        if values:
            mean = mean_of(values)
            interval = f" ± {mean.half_width:.{digits}f}" if mean.half_width is not None else ""
            measured = f"{mean.value:.{digits}f}{interval}, {mean.seeds} of {len(cells)} seeds"
            distance = f"{mean.value - goal.least:+.{digits}f}"
        name = f"{SETS[goal.set][0]}, {goal.size}, {goal.method}{'' if percent else ', macro F1'}"
        lines.append(
            f"| {name} | {goal.least:.{digits}f} | {goal.moonshot:.{digits}f} | {measured} | {distance} |"
        )
    return "\n".join(lines)
