"""Runs side by side on the same rows: paired tests of every two, and the spread over seeds of one recipe."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.assess.compare.align_predictions import Aligned, align, open_all
from submillion.assess.compare.comparison import MEASURES, Comparison, sentence, sentence_over_seeds
from submillion.assess.statistics.bootstrap import tabulate
from submillion.assess.statistics.paired_tests import holm, paired, scores
from submillion.assess.statistics.seeds import between, rows_needed, spread
from submillion.run_format.interval import ALPHA

if TYPE_CHECKING:
    import numpy as np

    from submillion.rundir import RunDir

# What a run's scores do not depend on: runs that differ in these alone are of one recipe.
NOT_THE_RECIPE = ("name", "seed", "track", "budget", "train.log_every")


def compare(paths: Sequence[str | Path], split: str | None = None) -> Comparison:
    """Compare two or more runs on one split whose rows they share.

    Args:
        paths: run directories.
        split: None takes test where every run has it, else validation.

    Returns:
        A comparison whose JSON holds
        `split`, `rows`;
        `runs`: in the order given {`name`, `seed`, `recipe` (its name), `accuracy`, `macro_f1`}, the last two as in
        the part "intervals";
        `differs`: {field of the recipe: its value in each run}, for fields that are not the same in all;
        `pairs`: of every two runs {`a`, `b` (names), `same_recipe`, what `significance.paired` gives with
        `p_holm` beside each `p`, `rows_needed` (see `seeds.rows_needed`), `shown` (True where the exact McNemar
        test, corrected, is below 0.05), `sentence`};
        `groups`: of recipes with two or more seeds {`name`, `runs`, `repeated` (runs of a seed that is there
        already, not counted), `accuracy`, `macro_f1`: see `seeds.spread`};
        `between`: of every two such recipes {`a`, `b`, `accuracy`, `macro_f1`: see `seeds.between`, with
        `p_holm`; `sentence`}.

    Raises:
        BadInput: fewer than two runs, or runs that were not scored on the same rows.
    """
    import numpy as np

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
    cells, counts = tabulate(aligned.labels, aligned.predicted[index])
    found = scores(cells, counts, aligned.label_names, rng)
    return {measure: found[measure] for measure in MEASURES}


def _pairs(
    aligned: Aligned, names: Sequence[str], recipes: Sequence[dict[str, Any]], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return every two runs compared, as `compare` documents it."""
    places = list(combinations(range(len(names)), 2))
    found = [
        paired(aligned.labels, aligned.predicted[i], aligned.predicted[j], len(aligned.label_names), rng)
        for i, j in places
    ]
    _correct(found)
    pairs = []
    for (i, j), pair in zip(places, found, strict=True):
        needed = rows_needed(pair["only_a"], pair["only_b"], pair["rows"])
        shown = pair["accuracy"]["p_holm"] < ALPHA
        entry = {"a": names[i], "b": names[j], "same_recipe": bool(recipes[i]) and recipes[i] == recipes[j]}
        entry |= pair | {"rows_needed": needed, "shown": shown}
        pairs.append(entry | {"sentence": sentence(entry, len(places))})
    return pairs


def _groups(runs: Sequence[dict[str, Any]], recipes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the recipes that have two or more seeds, in the order of their first runs."""
    members: list[list[int]] = []
    for index, recipe in enumerate(recipes):
        home = next((group for group in members if recipe and recipes[group[0]] == recipe), None)
        if home is None:
            members.append([index])
        else:
            home.append(index)
    titles = [runs[group[0]]["recipe"] for group in members]
    groups = []
    for group, title in zip(members, titles, strict=True):
        by_seed: dict[Any, int] = {}
        for index in group:
            by_seed.setdefault(runs[index]["seed"], index)
        if len(by_seed) < 2:
            continue
        counted = list(by_seed.values())
        groups.append(
            {
                "name": title
                if titles.count(title) == 1
                else f"{runs[group[0]]['name']} and its other seeds",
                "runs": [runs[index]["name"] for index in counted],
                "repeated": [runs[index]["name"] for index in group if index not in counted],
            }
            | {measure: spread([runs[index][measure]["value"] for index in counted]) for measure in MEASURES}
        )
    return groups


def _between(groups: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return every two recipes of several seeds compared by their means over seeds."""
    by_name = {run["name"]: run for run in runs}

    def values(group: dict[str, Any], measure: str) -> list[float]:
        return [by_name[name][measure]["value"] for name in group["runs"]]

    found = []
    for a, b in combinations(groups, 2):
        of = {measure: between(values(a, measure), values(b, measure)) for measure in MEASURES}
        if all(of.values()):
            found.append({"a": a["name"], "b": b["name"]} | of)
    _correct(found)
    return [entry | {"sentence": sentence_over_seeds(entry)} for entry in found]


def _correct(found: Sequence[dict[str, Any]]) -> None:
    """Put the corrected p beside every p, each measure by itself."""
    for measure in MEASURES:
        corrected = holm([entry[measure]["p"] for entry in found])
        for entry, p in zip(found, corrected, strict=True):
            entry[measure]["p_holm"] = p


def _names(paths: Sequence[str | Path]) -> list[str]:
    """Return the runs' last parts of path where these differ, else the paths as given."""
    short = [Path(path).resolve().name for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def _recipe(run: RunDir) -> dict[str, Any]:
    """Return a run's recipe under dotted names; empty where the run has none."""
    from submillion.recipe_file import flat

    if not run.recipe.is_file():
        return {}
    recipe = run.read_recipe()
    return flat(recipe.model_dump(mode="json"))


def _differing(recipes: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the fields that are not the same in every recipe, with the value in each."""
    fields = dict.fromkeys(field for recipe in recipes for field in recipe)
    values = {field: [recipe.get(field) for recipe in recipes] for field in fields}
    return {field: found for field, found in values.items() if any(value != found[0] for value in found)}
