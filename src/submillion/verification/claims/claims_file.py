"""Reader of claims files: published claims about a classifier, in YAML, from one or several texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from submillion import recipe_file
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.files import strict_yaml
from submillion.recipe import Recipe
from submillion.verification.claims.rounding import PublishedNumber

PUBLISHED = Path(__file__).parent / "published"
RECIPE, LABELS, SOURCES = "recipe", "labels", "sources"
ANY = "*"
_SCORES = ("metrics", ANY)
# Figures that can be claimed besides the recipe, named as in a run's files. Only `share` is not in a run: trainable
# parameters divided by all parameters.
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
    """The claims of one text."""

    name: str
    figures: dict[Path_, PublishedNumber]
    """By place in a run's files, for example (metrics, test, accuracy)."""
    settings: dict[str, Any]
    """The recipe fields that the text states, for example `lora.r`."""
    recipe: Recipe
    """A recipe of these fields and the defaults of all others."""
    labels: list[str]
    """Class names; empty if the file does not list them."""


def published_names() -> list[str]:
    """Return the names of the published claims that ship with submillion."""
    return recipe_file.shipped_names(PUBLISHED)


def read_claims(name_or_path: str | Path) -> list[Source]:
    """Read a claims file, or published claims by name.

    The file has `sources`: {name of a text: {`recipe`: recipe fields, and `budget`, `metrics`, `training` and `data`
    with figures named as in manifest.json and metrics.json of a run}}. It may have `labels`, the class names. Figures
    keep their written form, because 94.0% claims another precision than 94%.

    Args:
        name_or_path: name of published claims, or path of a claims file.

    Raises:
        BadInput: there is no such file, it has another form, a name is unknown or a figure is not a number; lists
            all problems.
    """
    file = _find(str(name_or_path))
    written = strict_yaml.read(file, "claims in YAML", words=strict_yaml.EVERY_WORD)
    typed = strict_yaml.read(file, "claims in YAML", words=recipe_file.text_fields(Recipe))
    if not _is_mapping_of_mappings(written, SOURCES):
        form = "sources: {name: {recipe: ..., budget: ..., metrics: ...}}"
        raise BadInput(
            Problem(str(file), form, "another form", f"See {published_names()[0]}.yaml for an example.")
        )
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
        figures: dict[Path_, PublishedNumber] = {}
        for path, value in _leaves({key: part for key, part in claimed.items() if key != RECIPE}):
            where = f"{file}: {name}: {'.'.join(path)}"
            number = PublishedNumber.parse(value) if isinstance(value, str) else None
            if not is_known(path):
                problems.append(Problem(where, "a figure of a run", "an unknown name", _near(path)))
            elif number is None:
                problems.append(Problem(where, "a number, for example 94.09% or 888,580", f"'{value}'"))
            else:
                figures[path] = number
        fields = typed[SOURCES][name].get(RECIPE) or {}
        recipe = _recipe(fields, file, problems)
        if recipe:
            settings = recipe_file.flat(recipe.model_dump(mode="json"))
            named = {field: settings[field] for field in recipe_file.flat(fields) if field in settings}
            sources.append(Source(name, figures, named, recipe, labels))
    if problems:
        raise BadInput(problems)
    return sources


def is_known(path: Path_) -> bool:
    """Return whether a run's files have a figure in this place."""
    return any(
        len(known) == len(path) and all(one in (ANY, other) for one, other in zip(known, path, strict=True))
        for known in KNOWN
    )


def _recipe(fields: Any, file: Path, problems: list[Problem]) -> Recipe | None:
    """Return a complete recipe from some of its fields; their problems are added to `problems`."""
    if not isinstance(fields, dict):
        problems.append(Problem(f"{file}: {RECIPE}", "fields of a recipe", repr(fields)))
        return None
    values: dict[str, Any] = {"name": "claimed"} | fields
    unnamed = {"encoder": {"source": "unnamed"}, "data": {"train": "unnamed"}}
    for section, needed in unnamed.items():
        section_values = values.get(section, {})
        values[section] = needed | section_values if isinstance(section_values, dict) else section_values
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems += recipe_file.problems_of(Recipe, error, file)
        return None


def _find(name_or_path: str) -> Path:
    expected = f"a YAML file, or one of {', '.join(published_names())}"
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
