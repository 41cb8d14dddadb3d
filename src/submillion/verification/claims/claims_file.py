"""What somebody claims of a classifier, read from a small yaml: one source or several, checked for form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from submillion import recipe_file
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.recipe import Recipe
from submillion.verification.claims.rounding import Stated

PUBLISHED = Path(__file__).parent / "published"
RECIPE, LABELS, SOURCES = "recipe", "labels", "sources"
ANY = "*"
_SCORES = ("metrics", ANY)
# What may be claimed beside the recipe, under the names that a run's own files give it; `share` alone is no
# entry of a run: the trainable parameters as a share of all.
KNOWN: tuple[tuple[str, ...], ...] = (
    *(("budget", name) for name in ("trainable", "total", "budget", "share")),
    ("budget", "parts", ANY),
    *(("training", name) for name in ("steps", "epochs_run", "wall_seconds", "samples_per_second")),
    *(("training", name) for name in ("tokens_seen", "peak_memory_mb", "best_accuracy", "best_epoch")),
    ("data", "splits", ANY, "rows"),
    *((*_SCORES, name) for name in ("rows", "correct", "accuracy", "macro_f1", "loss")),
    *((*_SCORES, "per_class", ANY, name) for name in ("precision", "recall", "f1", "support")),
    *((*_SCORES, "confidence", name) for name in ("rows", "mean", "median", "min", "max")),
    (*_SCORES, "confidence", "above", ANY),
)
Path_ = tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """What one text says."""

    name: str
    figures: dict[Path_, Stated]
    """By the place that a run would have it in, for example (metrics, test, accuracy)."""
    settings: dict[str, Any]
    """The fields of the recipe that it names, for example `lora.r`."""
    recipe: Recipe
    """Those fields, and the defaults of all others."""
    labels: list[str]
    """Class names; empty where the file does not list them."""


def published_names() -> list[str]:
    """Return the names of the claims that are shipped."""
    return recipe_file.shipped_names(PUBLISHED)


def read_claims(name_or_path: str | Path) -> list[Source]:
    """Read a file of claims, or shipped ones by their name.

    The file has `sources`: {name of a text: {`recipe`: fields of a recipe, and `budget`, `metrics`, `training`
    and `data` with figures under the names that manifest.json and metrics.json of a run give them}}, and may
    have `labels`, the classes. Figures keep their written form: 94.0 % claims another precision than 94 %.

    Raises:
        BadInput: no such file, not of that form, unknown names or what is no number; all problems at once.
    """
    file = _find(str(name_or_path))
    try:
        text = file.read_text(encoding="utf-8")
        written = yaml.load(text, Loader=yaml.BaseLoader)  # every value as it was written
        typed = recipe_file.parse_yaml(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise BadInput(
            Problem(str(file), "claims in yaml", f"a file that cannot be read ({found})")
        ) from error
    if not _is_mapping_of_mappings(written, SOURCES):
        form = "sources: {name: {recipe: ..., budget: ..., metrics: ...}}"
        raise BadInput(Problem(str(file), form, "another form", f"See {published_names()[0]}.yaml."))
    labels = written.get(LABELS, [])
    problems = [
        Problem(str(file), f"{LABELS} or {SOURCES}", f"'{key}'", did_you_mean(key, (LABELS, SOURCES)))
        for key in written
        if key not in (LABELS, SOURCES)
    ]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        problems.append(Problem(f"{file}: {LABELS}", "a list of class names", f"{labels}"))
    sources = []
    for name, claimed in written[SOURCES].items():
        figures: dict[Path_, Stated] = {}
        for path, value in _leaves({key: part for key, part in claimed.items() if key != RECIPE}):
            where = f"{file}: {name}: {'.'.join(path)}"
            stated = Stated.read(value) if isinstance(value, str) else None
            if not is_known(path):
                problems.append(Problem(where, "a figure of a run", "an unknown name", _near(path)))
            elif stated is None:
                problems.append(Problem(where, "a number, for example 94.09 % or 888,580", f"'{value}'"))
            else:
                figures[path] = stated
        given = typed[SOURCES][name].get(RECIPE) or {}
        recipe = _recipe(given, file, problems)
        if recipe:
            settings = recipe_file.flat(recipe.model_dump(mode="json"))
            named = {field: settings[field] for field in recipe_file.flat(given) if field in settings}
            sources.append(Source(name, figures, named, recipe, labels))
    if problems:
        raise BadInput(problems)
    return sources


def is_known(path: Path_) -> bool:
    """Return whether a run has a figure in this place."""
    return any(
        len(known) == len(path) and all(one in (ANY, other) for one, other in zip(known, path, strict=True))
        for known in KNOWN
    )


def _recipe(given: Any, file: Path, problems: list[Problem]) -> Recipe | None:
    """Return a whole recipe from some of its fields; what is wrong with them is added to `problems`."""
    if not isinstance(given, dict):
        problems.append(Problem(f"{file}: {RECIPE}", "fields of a recipe", repr(given)))
        return None
    values: dict[str, Any] = {"name": "claimed"} | given
    unnamed = {"encoder": {"source": "unnamed"}, "data": {"train": "unnamed"}}
    for section, needed in unnamed.items():
        said = values.get(section, {})
        values[section] = needed | said if isinstance(said, dict) else said
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems += recipe_file.problems_of(Recipe, error, file)
        return None


def _find(name_or_path: str) -> Path:
    expected = f"a yaml file, or one of {', '.join(published_names())}"
    return recipe_file.find(name_or_path, PUBLISHED, "--claims", expected)


def _leaves(value: Mapping[str, Any], path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    for key, below in value.items():
        if isinstance(below, dict):
            yield from _leaves(below, (*path, key))
        else:
            yield (*path, key), below


def _near(path: Path_) -> str:
    known = {".".join(names) for names in KNOWN if len(names) == len(path)}
    return did_you_mean(".".join(path), known)


def _is_mapping_of_mappings(value: Any, key: str) -> bool:
    inner = value.get(key) if isinstance(value, dict) else None
    return isinstance(inner, dict) and bool(inner) and all(isinstance(part, dict) for part in inner.values())
