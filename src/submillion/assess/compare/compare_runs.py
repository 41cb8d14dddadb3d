"""Compares runs on the same rows: paired tests of every pair, and the spread over the seeds of one recipe."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from submillion import recipe_file
from submillion.assess.compare.align_predictions import Aligned, align, open_all
from submillion.assess.compare.comparison import MEASURES, Comparison, sentence, sentence_over_seeds
from submillion.assess.statistics.intervals import split_intervals
from submillion.assess.statistics.multiple_tests import add_holm
from submillion.assess.statistics.paired_tests import paired
from submillion.assess.statistics.power import rows_needed
from submillion.assess.statistics.seeds import difference_of_means, spread
from submillion.run_format.interval import ALPHA
from submillion.rundir import RunDir

NOT_THE_RECIPE = ("name", "seed", "track", "budget", "train.log_every", "data.slice_columns")
"""Recipe fields that do not affect the scores: runs that differ only in these share a recipe."""


def compare_runs(paths: Sequence[str | Path], split: str | None = None) -> Comparison:
    """Compare two or more runs on one split whose rows they share.

    Args:
        paths: run directories.
        split: None takes test if every run has it, else validation.

    Returns:
        A comparison whose JSON holds
        `split`, `rows`;
        `runs`: in the order of `paths`, {`name`, `seed`, `recipe` (its name), `accuracy`, `macro_f1` (intervals)};
        `differs`: {recipe field: its value in each run}, for fields that are not the same in all;
        `pairs`: for every two runs {`a`, `b` (names), `same_recipe`, the keys of `PairedComparison` with `shown`,
        `rows_needed` (see the function), `sentence`};
        `groups`: for recipes with two or more seeds {`name`, `runs`, `repeated` (runs of a duplicate seed, excluded),
        `accuracy`, `macro_f1` (see `seeds.spread`)};
        `between`: for every two such recipes {`a`, `b`, `accuracy`, `macro_f1` (see `seeds.difference_of_means`,
        with `p_holm`), `sentence`}.

    Raises:
        BadInput: fewer than two runs, or runs that were not scored on the same rows.
    """
    runs = open_all(paths)
    aligned = align(runs, split)
    names = _names(paths)
    seeds = [run.read_manifest().get("seed") for run in runs]
    recipes = [_recipe(run) for run in runs]
    rng = np.random.default_rng(0)
    described = [
        {"name": name, "seed": seed, "recipe": recipe.get("name")} | _scores(aligned, index, rng)
        for index, (name, seed, recipe) in enumerate(zip(names, seeds, recipes, strict=True))
    ]
    same = [{key: value for key, value in recipe.items() if key not in NOT_THE_RECIPE} for recipe in recipes]
    groups = _groups(described, same)
    return Comparison(
        {
            "split": aligned.split,
            "rows": len(aligned.labels),
            "runs": described,
            "differs": _differing(same),
            "pairs": _pairs(aligned, names, same, rng),
            "groups": groups,
            "between": _between(groups, described),
        }
    )


def _scores(aligned: Aligned, index: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return accuracy and macro F1 of one run."""
    scores = split_intervals(aligned.labels, aligned.predicted[index], aligned.label_names, rng)
    return {"accuracy": scores["accuracy"], "macro_f1": scores["macro_f1"]}


def _pairs(
    aligned: Aligned, names: Sequence[str], recipes: Sequence[dict[str, Any]], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return the comparison of every two runs, as `compare_runs` documents it."""
    places = list(combinations(range(len(names)), 2))
    comparisons: list[dict[str, Any]] = [
        {**paired(aligned.labels, aligned.predicted[i], aligned.predicted[j], len(aligned.label_names), rng)}
        for i, j in places
    ]
    for measure in MEASURES:
        add_holm([comparison[measure] for comparison in comparisons])
    pairs = []
    for (i, j), comparison in zip(places, comparisons, strict=True):
        entry = {"a": names[i], "b": names[j], "same_recipe": bool(recipes[i]) and recipes[i] == recipes[j]}
        entry |= comparison | {
            "rows_needed": rows_needed(comparison["only_a"], comparison["only_b"], comparison["rows"]),
            "shown": comparison["accuracy"]["p_holm"] < ALPHA,
        }
        pairs.append(entry | {"sentence": sentence(entry, len(places))})
    return pairs


def _groups(runs: Sequence[dict[str, Any]], recipes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the recipes with two or more seeds, in the order of their first runs."""
    members: list[list[int]] = []
    for index, recipe in enumerate(recipes):
        group = next((group for group in members if recipe and recipes[group[0]] == recipe), None)
        if group is None:
            members.append([index])
        else:
            group.append(index)
    titles = [runs[group[0]]["recipe"] for group in members]
    groups = []
    for group, title in zip(members, titles, strict=True):
        by_seed: dict[Any, int] = {}
        for index in group:
            by_seed.setdefault(runs[index]["seed"], index)
        if len(by_seed) < 2:
            continue
        counted = list(by_seed.values())
        unique = titles.count(title) == 1
        groups.append(
            {
                "name": title if unique else f"{runs[group[0]]['name']} and its other seeds",
                "runs": [runs[index]["name"] for index in counted],
                "repeated": [runs[index]["name"] for index in group if index not in counted],
            }
            | {measure: spread([runs[index][measure]["value"] for index in counted]) for measure in MEASURES}
        )
    return groups


def _between(groups: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the comparison of every two recipes with several seeds, by their means over seeds."""
    by_name = {run["name"]: run for run in runs}

    def values(group: dict[str, Any], measure: str) -> list[float]:
        return [by_name[name][measure]["value"] for name in group["runs"]]

    comparisons: list[dict[str, Any]] = []
    for a, b in combinations(groups, 2):
        by_measure = {
            measure: difference_of_means(values(a, measure), values(b, measure)) for measure in MEASURES
        }
        if all(by_measure.values()):
            comparisons.append({"a": a["name"], "b": b["name"]} | by_measure)
    for measure in MEASURES:
        add_holm([comparison[measure] for comparison in comparisons])
    return [comparison | {"sentence": sentence_over_seeds(comparison)} for comparison in comparisons]


def _names(paths: Sequence[str | Path]) -> list[str]:
    """Return the last parts of the runs' paths if these differ, else the paths as passed."""
    short = [Path(path).resolve().name for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def _recipe(run: RunDir) -> dict[str, Any]:
    """Return a run's recipe under dotted names; empty if the run has none."""
    return recipe_file.flat(run.read_recipe().model_dump(mode="json")) if run.recipe.is_file() else {}


def _differing(recipes: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the fields that are not the same in every recipe, with the value in each."""
    fields = dict.fromkeys(field for recipe in recipes for field in recipe)
    values = {field: [recipe.get(field) for recipe in recipes] for field in fields}
    return {field: each for field, each in values.items() if any(value != each[0] for value in each)}
