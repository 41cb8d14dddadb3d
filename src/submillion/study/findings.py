"""The findings of a study: scores per cell, effects of the axes, differences between cells, and Pareto fronts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

from scipy.stats import t

from submillion.assess.statistics.multiple_tests import add_holm, not_shown
from submillion.assess.statistics.power import seeds_needed
from submillion.assess.statistics.seeds import spread
from submillion.run_format.interval import ALPHA, interval
from submillion.rundir import RunDir
from submillion.study.cells import BASE, Cell
from submillion.study.design import StudyDesign
from submillion.wording import plural, points, points_range

COSTS = ("trainable", "wall_seconds")
Scores = Mapping[tuple[str, int], float]
"""The objective by name of the cell and seed."""


def compute_findings(design: StudyDesign, runs: Mapping[tuple[str, int], RunDir]) -> dict[str, Any]:
    """Compute the findings of a study from its trained runs.

    Differences are taken within a seed, for which both cells have the same split, order and dropout, and tested by
    Student's t-test over the seeds (The probable error of a mean, Biometrika 6 (1908) 1-25), so they also hold for
    other splits of the same texts. In a grid, the differences of one seed are first averaged over the levels of the
    other axes. p-values are corrected by Holm's method for all effects, or all pairs.

    Args:
        design: the study.
        runs: its complete runs by name of the cell and seed.

    Returns:
        `objective`, `split` ("validation"), `seeds`;
        `cells`: in the order of the design {`name`, `levels`, `settings`, `trainable`, `parts`, `seeds` (the trained
        ones), `accuracy` and `macro_f1` (see `seeds.spread`; None without runs), `tokens_seen`, `wall_seconds`,
        `samples_per_second` (means), `peak_memory_mb` (maximum)};
        `effects`: {`axis`, `level`, `base_level`, `difference`, `difference_interval`, `p`, `p_holm`, `seeds`,
        `shown`, `seeds_needed`, `sentence`}; the limits and p are None for a single seed, and if the difference is
        the same for all seeds;
        `pairs`: the same for every two cells, {`a`, `b`, ...}, a minus b; in a search, for the best cell and the base;
        `pareto`: {cost: names of the cells that no cell with the same cost or less surpasses}, among those with all
        seeds; in a search, among those with any;
        `winner`: the cell with the highest mean objective, among those with all seeds.
    """
    objective = design.study.objective
    cells = [_cell_findings(cell, design.study.seeds, runs) for cell in design.cells]
    scores = {key: _score(run, objective) for key, run in runs.items()}
    effects = _effects(design, scores)
    # In a search the best cell comes first, so that an improvement is positive.
    ordered = design.compared if design.space is None else design.compared[::-1]
    pairs = [
        {"a": a.name, "b": b.name} | _difference(design.study.seeds, scores, [(a, b)])
        for a, b in combinations(ordered, 2)
    ]
    _add_conclusions(effects, _effect_title)
    _add_conclusions(pairs, _pair_title)
    compared = {cell.name for cell in design.compared}
    complete = [
        cell for cell in cells if cell["name"] in compared and len(cell["seeds"]) == len(design.study.seeds)
    ]
    on_front = complete if design.space is None else [cell for cell in cells if cell["seeds"]]
    winner = max(complete, key=lambda cell: cell[objective]["mean"], default=None)
    return {
        "study": design.study.name,
        "objective": objective,
        "split": "validation",
        "design": design.study.design,
        "hold": design.study.hold,
        "seeds": list(design.study.seeds),
        "cells": cells,
        "effects": effects,
        "pairs": pairs,
        "pareto": {cost: pareto_front(on_front, objective, cost) for cost in COSTS},
        "winner": winner["name"] if winner else None,
    }


def compare_on_test(design: StudyDesign, scores: Scores, winner: str) -> dict[str, Any]:
    """Return the entry of `pairs` for the winner and the base, from their scores on test.

    Within a seed both cells are scored on the same rows; with `data.limit` the rows differ between seeds.
    """
    cell = next(cell for cell in design.cells if cell.name == winner)
    entry = {"a": winner, "b": BASE} | _difference(design.study.seeds, scores, [(cell, design.cells[0])])
    _add_conclusions([entry], _pair_title)
    return entry


def pareto_front(cells: Sequence[Mapping[str, Any]], objective: str, cost: str) -> list[str]:
    """Return the names of the cells that surpass every cell of the same cost or less, in order of cost."""
    front, best = [], -math.inf
    for cell in sorted(cells, key=lambda cell: (cell[cost], -cell[objective]["mean"])):
        if cell[objective]["mean"] > best:
            best = cell[objective]["mean"]
            front.append(str(cell["name"]))
    return front


def _cell_findings(
    cell: Cell, seeds: Sequence[int], runs: Mapping[tuple[str, int], RunDir]
) -> dict[str, Any]:
    trained = [seed for seed in seeds if (cell.name, seed) in runs]
    own = [runs[cell.name, seed] for seed in trained]
    trainings = [run.read_json(run.manifest)["training"] for run in own]
    costs = {
        name: math.fsum(training[name] for training in trainings) / len(trainings) if trainings else None
        for name in ("tokens_seen", "wall_seconds", "samples_per_second")
    }
    return {
        "name": cell.name,
        "levels": cell.levels,
        "settings": cell.settings,
        "trainable": cell.count.trainable,
        "parts": cell.count.parts,
        "seeds": trained,
        **{
            measure: spread([_score(run, measure) for run in own]) if own else None
            for measure in ("accuracy", "macro_f1")
        },
        **costs,
        "peak_memory_mb": max((training["peak_memory_mb"] for training in trainings), default=None),
    }


def _score(run: RunDir, measure: str) -> float:
    return float(run.read_json(run.metrics)["validation"][measure])


def _effects(design: StudyDesign, scores: Scores) -> list[dict[str, Any]]:
    return [
        {"axis": axis, "level": level, "base_level": base_level}
        | _difference(design.study.seeds, scores, _matched_cells(design, axis, level))
        for axis, base_level in design.base_levels.items()
        for level in dict.fromkeys(cell.levels[axis] for cell in design.cells if cell.levels[axis] != BASE)
    ]


def _matched_cells(design: StudyDesign, axis: str, level: str) -> list[tuple[Cell, Cell]]:
    """Return the pairs of cells that differ in this axis alone: one at the level, the other at the base's."""
    by_levels = {tuple(cell.levels.items()): cell for cell in design.cells}
    pairs = []
    for cell in design.cells:
        other = by_levels.get(tuple((cell.levels | {axis: BASE}).items()))
        if cell.levels[axis] == level and other is not None:
            pairs.append((cell, other))
    return pairs


def _difference(seeds: Sequence[int], scores: Scores, pairs: Sequence[tuple[Cell, Cell]]) -> dict[str, Any]:
    """Return the mean difference within a seed, a minus b, with its interval and p-value."""
    by_seed = []
    for seed in seeds:
        differences = [
            scores[a.name, seed] - scores[b.name, seed]
            for a, b in pairs
            if (a.name, seed) in scores and (b.name, seed) in scores
        ]
        if differences and len(differences) == len(pairs):
            by_seed.append(math.fsum(differences) / len(differences))
    if not by_seed:
        return {
            "difference": None,
            "difference_interval": interval(None),
            "p": None,
            "seeds": 0,
            "seeds_needed": None,
        }
    over_seeds = spread(by_seed, lowest=-1.0)
    mean, deviation = over_seeds["mean"], over_seeds["deviation"]
    testable = bool(deviation) and len(by_seed) > 1
    return {
        "difference": mean,
        "difference_interval": over_seeds["mean_interval"] if testable else interval(mean),
        "p": _t_test(mean, deviation, len(by_seed)) if testable else None,
        "seeds": len(by_seed),
        # The deviation of a difference is that of a single score times the square root of 2.
        "seeds_needed": seeds_needed(mean, deviation / math.sqrt(2)) if testable else None,
    }


def _t_test(mean: float, deviation: float, count: int) -> float:
    """Return the two-sided p-value of Student's t-test of a mean against 0."""
    return float(2 * t.sf(abs(mean) / (deviation / math.sqrt(count)), count - 1))


def _add_conclusions(entries: list[dict[str, Any]], title: Callable[[Mapping[str, Any]], str]) -> None:
    """Add the corrected p-value, whether a difference is shown, and a sentence to each entry."""
    tested = add_holm(entries)
    for entry in entries:
        entry["shown"] = entry["p_holm"] is not None and entry["p_holm"] < ALPHA
        entry["sentence"] = f"{title(entry)}: {_conclusion(entry, tested)}"


def _conclusion(entry: Mapping[str, Any], comparisons: int) -> str:
    """Return what the interval allows to conclude, in points of the objective; only p is corrected."""
    difference = entry["difference"]
    if difference is None:
        return "not trained yet."
    if entry["seeds"] == 1:
        return f"{points(difference)} points with one seed, which does not show how other seeds behave."
    low, high = entry["difference_interval"]["low"], entry["difference_interval"]["high"]
    seeds = plural(entry["seeds"], "seed")
    if low is None or high is None:
        return f"{f'{points(difference)} points' if difference else 'no difference'} for each of {seeds}."
    span = f"{points_range(low, high)} points, {seeds}"
    if entry["shown"]:
        size = points(abs(difference)).lstrip("+")
        return f"{'better' if difference > 0 else 'worse'} by {size} points ({span})."
    return f"{not_shown(entry['p'], comparisons)} ({span})."


def _effect_title(entry: Mapping[str, Any]) -> str:
    return f"{entry['axis']}: {entry['level']} against {entry['base_level']}"


def _pair_title(entry: Mapping[str, Any]) -> str:
    return f"{entry['a']} against {entry['b']}"
