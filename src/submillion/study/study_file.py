"""The study file: what a study varies, how its runs are compared, and how the file is read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from submillion import recipe_file
from submillion.errors import BadInput, Problem
from submillion.recipe import SOURCES, Recipe, Section
from submillion.recipe_data import NO_TEST
from submillion.recipe_fields import Name, Seed, Source

STUDIES = Path(__file__).parent / "studies"
SET_BY_STUDY = ("name", "seed")
"""Fields of a recipe that the study sets in every run."""
_SOURCES = {f"{section}.{name}" for section, names in SOURCES.items() for name in names}


class StudyFile(Section):
    """What a study varies, and how its runs are compared."""

    name: Name
    """Name of the study, and the default name of its directory."""
    base: Source
    """The recipe to vary: the name of a shipped recipe, or a file (relative to the study file)."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Fields of the base recipe to change, by dotted name. Paths are relative to the current directory, or to the
    study file if there is nothing of that name in the current directory."""
    axes: Annotated[dict[str, list[Any] | dict[str, dict[str, Any]]], Field(min_length=1)] | None = None
    """What to vary. The name of a recipe field takes a list of values; any other name takes a mapping of
    levels, each {field: value}."""
    search: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    """The fields to search instead of axes: field -> {choice: [...]} or {low, high, log, step}. A range between two
    integers draws integers. lora.r is drawn up to the largest rank that fits the budget with the other fields;
    unless it is searched too, lora.alpha follows at the base's alpha / r."""
    trials: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Number of recipes that a search draws. Each is trained with the first seed, the best one with all seeds."""
    pruner: Literal["median", "asha"] | None = None
    """Which trials of a search are stopped early. median (the default): those below the median of the complete
    trials at the same evaluation; asha: at evaluations 1, 3, 9, ..., those that are not among the best third of all
    trials that have reached it."""
    design: Literal["one-at-a-time", "grid"] = "one-at-a-time"
    """one-at-a-time: the base, and the base with one axis at another level; grid: every combination."""
    hold: Literal["nothing", "parameters"] = "nothing"
    """parameters: every cell gets the largest rank that trains no more parameters than the base (in a search: than
    the budget allows), at the base's alpha / r. This compares where the parameters are, not how many. To hold the
    training tokens, use set: {train.max_tokens: N}; to hold the wall time, set: {train.max_seconds: N}."""
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=1000)] = Field(default=[1, 2, 3])
    """Every cell is trained once with each seed."""
    objective: Literal["accuracy", "macro_f1"] = "accuracy"
    """The validation score by which cells are compared. The test split is scored once, at the end, for two cells."""

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: list[int]) -> list[int]:
        if len(set(value)) != len(value):
            raise ValueError("seeds that differ from each other")
        return value


def study_names() -> list[str]:
    """Return the names of the shipped studies."""
    return recipe_file.shipped_names(STUDIES)


def read_study_file(name_or_path: str) -> tuple[StudyFile, Path]:
    """Return a study by its shipped name or its file, with the path of the file.

    Raises:
        BadInput: no such file, or fields of it are wrong; all problems at once.
    """
    expected = f"a yaml file, or one of {', '.join(study_names())}"
    file = recipe_file.find(name_or_path, STUDIES, "study", expected)
    values = recipe_file.read_yaml(file, StudyFile, "a study in YAML", recipe_file.text_fields(Recipe))
    values.setdefault("name", file.stem)
    for part in ("set", "axes"):
        values |= {part: _located(values[part], file)} if part in values else {}
    try:
        study = StudyFile.model_validate(values)
    except ValidationError as error:
        raise BadInput(recipe_file.problems_of(StudyFile, error, file)) from None
    if problems := _conflicts(study, file.name):
        raise BadInput(problems)
    return study, file


def _located(value: Any, file: Path, of_source: bool = False) -> Any:
    """Return the settings of a study; a source beside the study file is found from every directory.

    Args:
        value: a part of the study file.
        file: the study file.
        of_source: the value is that of a field that names encoder or data, or a list of its levels.
    """
    if isinstance(value, dict):
        return {name: _located(part, file, name in _SOURCES) for name, part in value.items()}
    if isinstance(value, list):
        return [_located(part, file, of_source) for part in value]
    names_path = of_source and isinstance(value, str) and value != NO_TEST
    return recipe_file.beside(value, file) if names_path else value


def _conflicts(study: StudyFile, where: str) -> list[Problem]:
    """Return the problems of a study that has neither axes nor a search, both, or a field that belongs to the other."""
    searches = study.search is not None
    problems = [problem for name in study.set if (problem := fixed_field(f"{where}: set", name))]
    for axis, levels in (study.axes or {}).items():
        named = (
            [axis] if isinstance(levels, list) else {name for fields in levels.values() for name in fields}
        )
        problems += [
            problem for name in sorted(named) if (problem := fixed_field(f"{where}: axes: {axis}", name))
        ]
    if searches == (study.axes is not None):
        problems.append(Problem(where, "either axes or search", "both" if searches else "neither"))
    elif searches and study.trials is None:
        problems.append(Problem(f"{where}: trials", "the number of recipes to draw", "nothing"))
    for name in ("design",) if searches else ("trials", "pruner"):
        if name in study.model_fields_set and getattr(study, name) is not None:
            belongs_to, has = ("axes", "search") if searches else ("search", "axes")
            problems.append(Problem(f"{where}: {name}", f"{name} only together with {belongs_to}", has))
    return problems


def fixed_field(where: str, name: str) -> Problem | None:
    """Return the problem of a setting that the study would replace in every run, None for any other."""
    if name not in SET_BY_STUDY:
        return None
    remedy = "List seeds under `seeds`." if name == "seed" else "Runs are named by their cells and seeds."
    return Problem(where, "a field that the study does not set in every run", f"'{name}'", remedy)
