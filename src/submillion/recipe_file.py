"""Reads recipe files: YAML, overrides, field names and help, and pydantic's errors as problems with remedies."""

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


class _Loader(yaml.SafeLoader):
    """A safe loader that reads 3e-4 as a number, as YAML 1.2 does (section 10.3.2); YAML 1.1 reads a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader


def read_yaml(file: Path) -> dict[str, Any]:
    """Return the keys and values of a recipe file.

    Raises:
        BadInput: the file cannot be read or is not a YAML mapping.
    """
    try:
        values = parse_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise BadInput(
            Problem(str(file), "a recipe in YAML", f"a file that cannot be read ({found})")
        ) from error
    if not isinstance(values, dict):
        raise BadInput(Problem(str(file), "a recipe in YAML (key: value)", f"{type(values).__name__}"))
    return values


def find(name_or_path: str, folder: Path, where: str, expected: str) -> Path:
    """Return the file of a path, or of the name of a shipped YAML file.

    Args:
        name_or_path: a path, or a name without `.yaml`.
        folder: the folder of the shipped files.
        where: what is looked for, for the error.
        expected: what is accepted, for the error.

    Raises:
        BadInput: there is no such file; the message names the nearest shipped one.
    """
    path, shipped = Path(name_or_path), folder / f"{name_or_path}.yaml"
    if path.is_file():
        return path
    if "/" not in name_or_path and shipped.is_file():
        return shipped
    remedy = did_you_mean(name_or_path, shipped_names(folder))
    raise BadInput(Problem(where, expected, f"'{name_or_path}', neither a name nor a file", remedy))


def shipped_names(folder: Path) -> list[str]:
    """Return the names of the YAML files in a folder."""
    return sorted(file.stem for file in folder.glob("*.yaml"))


def override(model: type[BaseModel], values: dict[str, Any], item: str) -> Problem | None:
    """Write one `section.key=value` into `values`; return a problem if that is not possible."""
    key, equals, text = item.partition("=")
    if not equals:
        return Problem(item, "section.key=value", f"'{item}'", "For example lora.r=8.")
    if key not in field_names(model):
        remedy = did_you_mean(key, field_names(model))
        return Problem(item, "a field of the recipe", f"'{key}'", remedy)
    *sections, name = key.split(".")
    place: Any = values
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            return Problem(item, f"a section '{section}' in the recipe", repr(place))
    place[name] = _value_of(text)
    return None


def _value_of(text: str) -> Any:
    """Return the value of an override; text that is not YAML, or would be a mapping, stays text."""
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:
        return text
    return text if isinstance(value, dict) else value


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a recipe under dotted names, e.g. `lora.r`."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        fields |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return fields


def problems_of(model: type[BaseModel], error: ValidationError, file: Path) -> list[Problem]:
    """Convert pydantic's errors to problems, one per field.

    pydantic reports one error for each member of a union; these become one problem.
    """
    by_field: dict[str, list[ErrorDetails]] = {}
    for details in error.errors():
        by_field.setdefault(_field_of(model, details["loc"]), []).append(details)
    return [_problem_of(model, where, details, file) for where, details in by_field.items()]


def _problem_of(model: type[BaseModel], where: str, errors: list[ErrorDetails], file: Path) -> Problem:
    place, first = f"{file.name}: {where}", errors[0]
    if first["type"] == "extra_forbidden":
        parent, _, key = where.rpartition(".")
        siblings = _children(model, parent)
        remedy = did_you_mean(key, siblings) or f"Fields here: {', '.join(siblings)}."
        return Problem(place, "a known key", f"'{key}'", remedy)
    if first["type"] == "missing":
        return Problem(place, "a value", "none", f"Add it to the file, or with @{{{where}}}.")
    messages = [
        str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ") for error in errors
    ]
    expected, bar, found = messages[0].partition("|")  # the recipe's validators raise "expected|found"
    if bar:
        choices = expected.split(" among ")[-1].split(", ")
        return Problem(place, expected, f"'{found}'", did_you_mean(found, choices))
    help_text = field_help(model, where) if where in field_names(model) else ""
    return Problem(place, " or ".join(dict.fromkeys(messages)), repr(first.get("input")), help_text)


def _field_of(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Return the dotted field name in a pydantic location, without the tags of union members."""
    names: list[str] = []
    for part in map(str, location):
        names.append(part)
        if ".".join(names) in field_names(model):
            break
    return ".".join(names)


def _children(model: type[BaseModel], section: str) -> list[str]:
    """Return the names of the fields in a section; an empty list if there is no such section."""
    for name in filter(None, section.split(".")):
        if name not in model.model_fields:
            return []
        try:
            model = _section_model(model, name)
        except KeyError:
            return []
    return list(model.model_fields)


def field_help(model: type[BaseModel], path: str) -> str:
    """Return the help of a field by its dotted name, e.g. `lora.r`."""
    *sections, name = path.split(".")
    for section in sections:
        model = _section_model(model, section)
    return " ".join((model.model_fields[name].description or "").split())


def field_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted names of all fields, e.g. `lora.r`.

    Args:
        model: the recipe, or another model of nested sections.
        prefix: put before each name.
    """
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
