"""What a study found: each cell over its seeds, what each axis does, every two cells, and what is worth its price."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

from submillion.assess.statistics.paired_tests import holm, unshown
from submillion.assess.statistics.seeds import seeds_needed, spread
from submillion.run_format.interval import ALPHA, interval
from submillion.rundir import RunDir
from submillion.study.grid import BASE, Cell, Grid

COSTS = ("trainable", "wall_seconds")


def judge(grid: Grid, runs: Mapping[tuple[str, int], RunDir]) -> dict[str, Any]:
    """Judge a study from its trained runs.

    Differences are taken within a seed, where both cells drew the same split, order and dropout, and are judged
    by Student's test over the seeds (The probable error of a mean, Biometrika 6 (1908) 1-25): they hold for
    other seeds, that is for other splits of these texts, too. In a grid the differences of one seed are averaged
    over the levels of the other axes first. p is corrected by Holm for all effects, or all pairs.

    Args:
        grid: the study.
        runs: its complete runs by cell's name and seed.

    Returns:
        `objective`, `split` ("validation"), `seeds`;
        `cells`: in the grid's order {`name`, `levels`, `settings`, `trainable`, `parts`, `seeds` (those that are
        there), `accuracy` and `macro_f1` (see `seeds.spread`; None without runs), `tokens_seen`, `wall_seconds`,
        `samples_per_second` (means), `peak_memory_mb` (the largest)};
        `effects`: {`axis`, `level`, `base_level`, `difference`, `difference_interval`, `p`, `p_holm`, `seeds`, `shown`,
        `seeds_needed`, `sentence`}; its limits and p are None for one seed, and where all seeds differ alike;
        `pairs`: the same of every two cells, {`a`, `b`, ...}, a minus b; of a search base and chosen cell alone;
        `pareto`: {cost: names of the cells that no other one beats at that cost or less}, of those with all seeds; of a
            search of those with any;
        `winner`: the cell with the highest mean objective, of those with all seeds; of a search base or chosen cell.
    """
    objective = grid.study.objective
    cells = [_cell(cell, grid.study.seeds, runs) for cell in grid.cells]
    scores = {
        (cell.name, seed): _score(runs[cell.name, seed], objective)
        for cell in grid.cells
        for seed in grid.study.seeds
        if (cell.name, seed) in runs
    }
    effects = [
        {"axis": axis, "level": level, "base_level": grid.base_levels[axis]}
        | _differing(grid, scores, _matched(grid, axis, level))
        for axis in grid.base_levels
        for level in dict.fromkeys(cell.levels[axis] for cell in grid.cells if cell.levels[axis] != BASE)
    ]
    pairs = [
        {"a": a.name, "b": b.name} | _differing(grid, scores, [(a, b)])
        # Of a search the best one comes before the base: what was gained reads as a gain.
        for a, b in combinations(grid.judged if grid.space is None else grid.judged[::-1], 2)
    ]
    for found, title in ((effects, _effect_title), (pairs, _pair_title)):
        _correct(found, title)
    judged = {cell.name for cell in grid.judged}
    whole = [cell for cell in cells if cell["name"] in judged and len(cell["seeds"]) == len(grid.study.seeds)]
    worth = whole if grid.space is None else [cell for cell in cells if cell["seeds"]]
    winner = max(whole, key=lambda cell: cell[objective]["mean"], default=None)
    return {
        "study": grid.study.name,
        "objective": objective,
        "split": "validation",
        "design": grid.study.design,
        "hold": grid.study.hold,
        "seeds": list(grid.study.seeds),
        "cells": cells,
        "effects": effects,
        "pairs": pairs,
        "pareto": {cost: pareto(worth, objective, cost) for cost in COSTS},
        "winner": winner["name"] if winner else None,
    }


def pareto(cells: Sequence[Mapping[str, Any]], objective: str, cost: str) -> list[str]:
    """Return the names of the cells that are better than every cell of the same cost or less, the cheapest first."""
    found, best = [], -math.inf
    for cell in sorted(cells, key=lambda cell: (cell[cost], -cell[objective]["mean"])):
        if cell[objective]["mean"] > best:
            best = cell[objective]["mean"]
            found.append(str(cell["name"]))
    return found


def _cell(cell: Cell, seeds: Sequence[int], runs: Mapping[tuple[str, int], RunDir]) -> dict[str, Any]:
    present = [seed for seed in seeds if (cell.name, seed) in runs]
    own = [runs[cell.name, seed] for seed in present]
    trainings = [run.read_manifest()["training"] for run in own]
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
        "seeds": present,
        **{
            measure: spread([_score(run, measure) for run in own]) if own else None
            for measure in ("accuracy", "macro_f1")
        },
        **costs,
        "peak_memory_mb": max((training["peak_memory_mb"] for training in trainings), default=None),
    }


def _score(run: RunDir, measure: str) -> float:
    return float(run.read_json(run.metrics)["validation"][measure])


def _matched(grid: Grid, axis: str, level: str) -> list[tuple[Cell, Cell]]:
    """Return the pairs of cells that differ in nothing but this axis, the one at the level, the other at the base's."""
    by_levels = {tuple(cell.levels.items()): cell for cell in grid.cells}
    pairs = []
    for cell in grid.cells:
        other = by_levels.get(tuple((cell.levels | {axis: BASE}).items()))
        if cell.levels[axis] == level and other is not None:
            pairs.append((cell, other))
    return pairs


def on_test(grid: Grid, scores: Mapping[tuple[str, int], float], winner: str) -> dict[str, Any]:
    """Compare winner and base on test: the entry of `pairs` for them, with test scores by cell's name and seed.

    Within a seed both were scored on the same rows; with `data.limit` each seed has rows of its own.
    """
    best = next(cell for cell in grid.cells if cell.name == winner)
    entry = {"a": winner, "b": BASE} | _differing(grid, scores, [(best, grid.cells[0])])
    _correct([entry], _pair_title)
    return entry


def _differing(
    grid: Grid, scores: Mapping[tuple[str, int], float], pairs: Sequence[tuple[Cell, Cell]]
) -> dict[str, Any]:
    """Return the mean difference within a seed, a minus b, and how sure one may be of it."""
    by_seed = []
    for seed in grid.study.seeds:
        of_seed = [
            scores[a.name, seed] - scores[b.name, seed]
            for a, b in pairs
            if (a.name, seed) in scores and (b.name, seed) in scores
        ]
        if of_seed and len(of_seed) == len(pairs):
            by_seed.append(math.fsum(of_seed) / len(of_seed))
    if not by_seed:
        return {
            "difference": None,
            "difference_interval": interval(None),
            "p": None,
            "seeds": 0,
            "seeds_needed": None,
        }
    found = spread(by_seed)
    deviation = found["deviation"]
    judged = bool(deviation) and len(by_seed) > 1
    return {
        "difference": found["mean"],
        "difference_interval": found["mean_interval"] if judged else interval(found["mean"]),
        "p": _p_value(found["mean"], deviation, len(by_seed)) if judged else None,
        "seeds": len(by_seed),
        # A deviation of differences is that of two independent seeds by the root of 2.
        "seeds_needed": seeds_needed(found["mean"], deviation / math.sqrt(2)) if judged else None,
    }


def _p_value(mean: float, deviation: float, count: int) -> float:
    from scipy.stats import t

    return float(2 * t.sf(abs(mean) / (deviation / math.sqrt(count)), count - 1))


def _correct(found: list[dict[str, Any]], title: Callable[[Mapping[str, Any]], str]) -> None:
    """Add the corrected p, whether a difference is shown, and a sentence."""
    tested = [entry for entry in found if entry["p"] is not None]
    corrected = holm([entry["p"] for entry in tested])
    for entry in found:
        entry["p_holm"] = None
    for entry, p in zip(tested, corrected, strict=True):
        entry["p_holm"] = p
    for entry in found:
        entry["shown"] = entry["p_holm"] is not None and entry["p_holm"] < ALPHA
        entry["sentence"] = f"{title(entry)}: {_worded(entry, len(tested))}"


def _worded(entry: Mapping[str, Any], comparisons: int) -> str:
    """Say what the interval allows, in points of the objective; an interval is of one comparison, p of all."""
    if entry["difference"] is None:
        return "not trained yet."
    difference = 100 * entry["difference"]
    if entry["seeds"] == 1:
        return f"{difference:+.2f} points with one seed, which tells nothing of other seeds."
    if entry["difference_interval"]["low"] is None:
        same = "the same" if not difference else f"{difference:+.2f} points"
        return f"{same} in each of {entry['seeds']} seeds."
    low, high = (100 * entry["difference_interval"][end] for end in ("low", "high"))
    span = f"{low:+.2f} to {high:+.2f} points, {entry['seeds']} seeds"
    if entry["shown"]:
        return f"{'better' if difference > 0 else 'worse'} by {abs(difference):.2f} points ({span})."
    return f"{unshown(entry['p'], comparisons)} ({span})."


def _effect_title(entry: Mapping[str, Any]) -> str:
    return f"{entry['axis']}: {entry['level']} against {entry['base_level']}"


def _pair_title(entry: Mapping[str, Any]) -> str:
    return f"{entry['a']} against {entry['b']}"
