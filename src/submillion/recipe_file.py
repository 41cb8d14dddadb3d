"""Reads recipe files: YAML, overrides, field names and help, and pydantic's errors as problems with remedies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from submillion.errors import BadInput, Problem, did_you_mean
from submillion.files import strict_yaml
from submillion.files.strict_json import LONE_SURROGATE
from submillion.wording import excerpt

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_YAML_TEXT = re.compile(r"""\s*(["'\[].*|~|null|Null|NULL|)""", re.DOTALL)
_AROUND = re.compile(
    "Value error, |Input should be |(String|List|Dictionary) should have "
    "|, (unable to|got a number) .*| after validation, not [0-9]+"
)
"""What pydantic puts around what it expects."""
_LONGEST = 160
"""Characters of a value in a message."""


def read_yaml(
    file: Path,
    model: type[BaseModel],
    expected: str = "a recipe in YAML",
    words: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the keys and values of a recipe file.

    Args:
        file: the file.
        model: the recipe, or another model of nested sections; its text fields keep what was written, such as 007.
        expected: the kind of file, for the error.
        words: names of further text fields.

    Raises:
        BadInput: the file cannot be read or is not a YAML mapping.
    """
    values = strict_yaml.read(file, expected, words=text_fields(model) | words)
    if not isinstance(values, dict):
        found = "an empty file" if values is None else f"a {type(values).__name__}"
        raise BadInput(Problem(str(file), f"{expected} (key: value)", found))
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
    path, names = Path(name_or_path), shipped_names(folder)
    if is_file(path):
        return path
    if name_or_path in names:
        return folder / f"{name_or_path}.yaml"
    found = f"'{excerpt(name_or_path, _LONGEST)}', neither a name nor a file"
    raise BadInput(Problem(where, expected, found, did_you_mean(name_or_path, names)))


def beside(source: str, file: Path) -> str:
    """Return a source as a path beside the file that names it, if it is there and not in the current directory."""
    if not source or exists(Path(source)) or not exists(file.parent / source):
        return source
    return str(file.parent / source)


def exists(path: Path) -> bool:
    """Return whether a path exists; False too for one that no file system can have, such as 300 characters."""
    try:
        return path.exists()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """Return whether a path names a file; False too for one that no file system can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def shipped_names(folder: Path) -> list[str]:
    """Return the names of the YAML files in a folder."""
    return sorted(file.stem for file in folder.glob("*.yaml"))


def checked_overrides(overrides: Iterable[str]) -> list[str]:
    """Return overrides as a list of `section.key=value`.

    Raises:
        BadInput: one text, a mapping, or anything else than texts.
    """
    expected, remedy = "a list of texts, section.key=value", 'For example ["lora.r=8", "train.epochs=2"].'
    if isinstance(overrides, str | bytes | Mapping) or not isinstance(overrides, Iterable):
        found = excerpt(f"one {type(overrides).__name__}: {overrides!r}", _LONGEST)
        raise BadInput(Problem("@{overrides}", expected, found, remedy))
    items = list(overrides)
    if wrong := [item for item in items if not isinstance(item, str)]:
        raise BadInput(Problem("@{overrides}", expected, _shown(wrong[0]), remedy))
    return items


def override(model: type[BaseModel], values: dict[str, Any], item: str) -> Problem | None:
    """Write one `section.key=value` into `values`; return a problem if that is not possible."""
    key, equals, text = item.partition("=")
    item = excerpt(item, _LONGEST)
    if not equals:
        return Problem(item, "section.key=value", f"'{item}'", "For example lora.r=8.")
    if key not in field_names(model):
        remedy = did_you_mean(key, field_names(model))
        return Problem(item, "a field of the recipe", f"'{excerpt(key, _LONGEST)}'", remedy)
    *sections, name = key.split(".")
    place: Any = values
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            return Problem(item, f"a section '{section}' in the recipe", _shown(place))
    try:
        place[name] = _value_of(text, key, name in text_fields(model))
    except BadInput as error:
        return error.problems[0]
    return None


def _value_of(text: str, key: str, as_text: bool) -> Any:
    """Return the value of an override.

    Text that is not YAML, or would be a mapping, stays text. In a field that takes text, so does everything but a list,
    a text in quotes and null: `reviews #2.csv` has no comment, and 007 is no number.
    """
    if half := LONE_SURROGATE.search(text):  # the system's way to pass on a byte that is not in utf-8
        raise BadInput(Problem(key, "text in utf-8", f"a byte that is not (\\x{ord(half[0]) & 0xFF:02x})"))
    if as_text and not _YAML_TEXT.fullmatch(text):
        return text
    try:
        value = strict_yaml.parse(text, key, as_text=as_text)
    except strict_yaml.NotYaml:
        return text
    return text if isinstance(value, dict) else value


@cache
def text_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the names, without their sections, of the fields that take nothing but text or a list of texts."""
    fields: set[str] = set()
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            fields |= text_fields(field.annotation)
        elif _leaf_types(field.annotation) <= {str, NoneType}:
            fields.add(name)
    return frozenset(fields)


def _leaf_types(annotation: Any) -> set[Any]:
    """Return the types in an annotation such as `Annotated[list[str], ...] | None`: str and NoneType."""
    if get_origin(annotation) is Annotated:
        return _leaf_types(get_args(annotation)[0])
    parts = get_args(annotation)
    return {leaf for part in parts for leaf in _leaf_types(part)} if parts else {annotation}


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
        return Problem(place, "a known key", f"'{excerpt(key, _LONGEST)}'", remedy)
    if first["type"] == "missing":
        return Problem(place, "a value", "none", f"Add it to the file, or with @{{{where}}}.")
    messages = [message_of(error) for error in errors]
    expected, bar, found = messages[0].partition("|")  # the recipe's validators raise "expected|found"
    if bar:
        choices = expected.split(" among ")[-1].split(", ")
        return Problem(place, expected, f"'{excerpt(found, _LONGEST)}'", did_you_mean(found, choices))
    help_text = field_help(model, where) if where in field_names(model) else ""
    return Problem(place, " or ".join(dict.fromkeys(messages)), _shown(first.get("input")), help_text)


def message_of(details: ErrorDetails) -> str:
    """Return what pydantic expected; the recipe's own validators state it as "expected|found"."""
    return _AROUND.sub("", str(details["msg"]))


def _shown(value: Any) -> str:
    """Return a value for a message; a long list or text is cut."""
    return excerpt(repr(value), _LONGEST)


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
