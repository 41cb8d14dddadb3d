"""The first argument of `train`: the name of a recipe, the file of one, or labelled texts."""

from __future__ import annotations

import re
from pathlib import Path

from submillion import recipe_file
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.files import strict_yaml
from submillion.recipe import Recipe, recipe_names
from submillion.run_layout import MANIFEST, RECIPE
from submillion.sources.addresses import remedy_for
from submillion.sources.catalog import DATASETS
from submillion.sources.locate import is_hub_id
from submillion.sources.suffixes import ARCHIVES, DATA_SUFFIXES, PLAIN
from submillion.wording import excerpt

AUTO = "auto"
"""The name of the recipe that is decided from the data."""
YAML_SUFFIXES = (".yaml", ".yml")
AMBIGUOUS = (".json", *PLAIN)
"""Suffixes of labelled texts that a recipe may have as well."""
LONGEST_NAME = 100


def names_data(word: str | Path) -> bool:
    """Return whether a word names labelled texts: a file, a folder, or a data set of the catalog or the hub.

    It is False for a recipe. Whether a hub has the data set is found out when it is read.

    Raises:
        BadInput: it names neither, or a run.
    """
    name, path = str(word), Path(word)
    if recipe_file.is_file(path):
        return not _is_recipe(path)
    if name == AUTO or name in recipe_names():
        return False
    if recipe_file.exists(path) and path.is_dir():
        check_no_run(path)
        return True
    if name in DATASETS or is_hub_id(name):
        return True
    raise BadInput(_neither(name))


def check_no_run(word: str | Path) -> None:
    """Refuse the directory of a run, whose files are no labelled texts.

    Raises:
        BadInput: it is one.
    """
    path = Path(word)
    if recipe_file.is_file(path / MANIFEST) and recipe_file.is_file(path / RECIPE):
        remedy = f"To train its recipe again, name {path / RECIPE}."
        raise BadInput(Problem(str(word), "a recipe, or labelled texts", "a run of submillion", remedy))


def run_name(word: str | Path) -> str:
    """Return a name for the recipe and the run of a data file, a folder or a data set: `reviews` for `reviews.csv.gz`.

    Letters of other scripts, blanks and whatever else cannot be in the name of a recipe become `-`.
    """
    path = Path(str(word).partition("@")[0].partition(":")[0] if is_hub_id(str(word)) else word)
    stem = path.resolve().name if path.is_dir() else path.name
    if Path(stem).suffix.lower() in ARCHIVES:
        stem = Path(stem).stem
    if Path(stem).suffix.lower() in DATA_SUFFIXES:
        stem = Path(stem).stem
    name = re.sub("[^A-Za-z0-9._]+", "-", stem).strip("-.")[:LONGEST_NAME]
    return name or AUTO


def _is_recipe(path: Path) -> bool:
    """Return whether a file is a recipe: by its suffix, or because it is YAML that names an encoder."""
    suffix = path.suffix.lower()
    if suffix in YAML_SUFFIXES:
        return True
    if suffix in DATA_SUFFIXES and suffix not in AMBIGUOUS:
        return False
    if path.stat().st_size > strict_yaml.MAX_BYTES:
        return False
    try:
        values = strict_yaml.read(path, "a recipe in YAML")
    except BadInput:  # whatever it is, the reader of labelled texts says what it lacks
        return False
    return isinstance(values, dict) and "encoder" in values and values.keys() <= Recipe.model_fields.keys()


def _neither(name: str) -> Problem:
    """Return the problem with a word that names neither a recipe nor data."""
    path = Path(name)
    names = [AUTO, *recipe_names()]
    expected = (
        f"a file or folder of labelled texts, a recipe ({', '.join(names)}), a recipe's YAML file, or a data set "
        f"({', '.join(DATASETS)}, or organisation/name on the hub)"
    )
    there = recipe_file.exists(path.parent) and path.parent.is_dir()
    beside = [entry.name for entry in path.parent.iterdir()] if there else []
    remedy = remedy_for(name) or did_you_mean(name, [*names, *DATASETS]) or did_you_mean(path.name, beside)
    return Problem("@{recipe}", expected, f"'{excerpt(name, 160)}', which is none of them", remedy)
