"""Reading a recipe file: yaml, `--set` overrides, and pydantic's errors told with their remedies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

from submillion.errors import BadInput, Problem, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Loader(yaml.SafeLoader):
    """yaml 1.1 reads 3e-4 as text; a recipe means the number (yaml 1.2, section 10.3.2)."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$"),
    list("-+.0123456789"),
)


def read_yaml(file: Path) -> dict[str, Any]:
    """Return a recipe file's keys; raises BadInput when it cannot be read."""
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise BadInput(
            Problem(str(file), "a recipe in yaml", f"a file that cannot be read ({found})")
        ) from error
    if not isinstance(values, dict):
        raise BadInput(Problem(str(file), "a recipe in yaml (key: value)", f"{type(values).__name__}"))
    return values


def find(name_or_path: str, folder: Path, where: str, expected: str) -> Path:
    """Return the file of a path, or of the name of a yaml file that is shipped in a folder.

    Args:
        where, expected: what a user is told who names neither.

    Raises:
        BadInput: there is no such file.
    """
    path, shipped = Path(name_or_path), folder / f"{name_or_path}.yaml"
    if path.is_file():
        return path
    if "/" not in name_or_path and shipped.is_file():
        return shipped
    remedy = did_you_mean(name_or_path, shipped_names(folder))
    raise BadInput(Problem(where, expected, f"'{name_or_path}', which is neither", remedy))


def shipped_names(folder: Path) -> list[str]:
    """Return the names of the yaml files that are shipped in a folder."""
    return sorted(file.stem for file in folder.glob("*.yaml"))


def override(model: type[BaseModel], values: dict[str, Any], item: str) -> Problem | None:
    """Write one `section.key=value` into `values`; return what is wrong with it, if anything."""
    key, equals, text = item.partition("=")
    if not equals:
        return Problem(f"--set {item}", "section.key=value", f"'{item}'", "For example --set lora.r=8.")
    if key not in field_names(model):
        remedy = did_you_mean(key, field_names(model))
        return Problem(f"--set {item}", "a field of the recipe", f"'{key}'", remedy)
    *sections, name = key.split(".")
    place: Any = values
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            return Problem(f"--set {item}", f"a section '{section}' in the recipe", repr(place))
    place[name] = _value_of(text)
    return None


def _value_of(text: str) -> Any:
    """Read an override's value; what yaml cannot read, or takes for a mapping, is text."""
    try:
        value = yaml.load(text, Loader=Loader)
    except yaml.YAMLError:
        return text
    return text if isinstance(value, dict) else value


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a recipe's values under dotted names, e.g. `lora.r`."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        fields |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return fields


def problems_of(model: type[BaseModel], error: ValidationError, file: Path) -> list[Problem]:
    """Turn pydantic's errors into where / expected / found / remedy, one per field.

    A field of several allowed forms gets one pydantic error per form; they are told as one problem.
    """
    by_field: dict[str, list[ErrorDetails]] = {}
    for details in error.errors():
        by_field.setdefault(_field_of(model, details["loc"]), []).append(details)
    return [_problem_of(model, where, details, file) for where, details in by_field.items()]


def _problem_of(model: type[BaseModel], where: str, forms: list[ErrorDetails], file: Path) -> Problem:
    place, first = f"{file.name}: {where}", forms[0]
    if first["type"] == "extra_forbidden":
        parent, _, key = where.rpartition(".")
        siblings = _children(model, parent)
        remedy = did_you_mean(key, siblings) or f"Known here: {', '.join(siblings)}."
        return Problem(place, "a known key", f"'{key}'", remedy)
    if first["type"] == "missing":
        return Problem(place, "a value", "none", f"Add it, or --set {where}=...")
    messages = [
        str(form["msg"]).removeprefix("Value error, ").removeprefix("Input should be ") for form in forms
    ]
    expected, bar, culprit = messages[0].partition("|")
    if bar:
        return Problem(
            place, expected, f"'{culprit}'", did_you_mean(culprit, expected.split(" among ")[-1].split(", "))
        )
    help_text = field_help(model, where) if where in field_names(model) else ""
    return Problem(place, " or ".join(dict.fromkeys(messages)), repr(first.get("input")), help_text)


def _field_of(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Return the dotted field name in a pydantic location, without the tags of a union's branches."""
    names: list[str] = []
    for part in map(str, location):
        names.append(part)
        if ".".join(names) in field_names(model):
            break
    return ".".join(names)


def _children(model: type[BaseModel], section: str) -> list[str]:
    for name in filter(None, section.split(".")):
        if name not in model.model_fields:
            return []
        try:
            model = _section_model(model, name)
        except KeyError:
            return []
    return list(model.model_fields)


def field_help(model: type[BaseModel], path: str) -> str:
    """Return the help of one field by its dotted name, e.g. `lora.r`."""
    *sections, name = path.split(".")
    for section in sections:
        model = _section_model(model, section)
    return " ".join((model.model_fields[name].description or "").split())


def field_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted names of all fields of the recipe."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += field_names(field.annotation, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _section_model(model: type[BaseModel], name: str) -> type[BaseModel]:
    annotation = model.model_fields[name].annotation
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        raise KeyError(name)
    return annotation
