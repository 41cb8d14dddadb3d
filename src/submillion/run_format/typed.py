"""Checks a JSON value from a run directory against the type that the value should have."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from submillion.errors import BadInput, Problem
from submillion.wording import excerpt

MOST_PROBLEMS = 10
_LONGEST = 80


def check(value: Any, kind: Any, where: str, remedy: str = "", *, partial: bool = False) -> None:
    """Refuse a value that is not of a type; keys that the type does not have are accepted.

    Numbers are checked strictly: true is no number, "1" neither, and 1.5 is no integer.

    Args:
        value: parsed JSON.
        kind: a TypedDict, or another type that pydantic knows.
        where: the file, for the error.
        remedy: for the error.
        partial: the top level may lack keys: a run that has just begun has not written all of them.

    Raises:
        BadInput: the first `MOST_PROBLEMS` places that differ, with key path, expected and found.
    """
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        details = [
            part
            for part in error.errors(include_url=False)
            if not (partial and part["type"] == "missing" and len(part["loc"]) == 1)
        ]
        if not details:
            return
        problems = [
            Problem(_place(where, part["loc"]), *_difference(part), remedy)
            for part in details[:MOST_PROBLEMS]
        ]
        if (more := len(details) - MOST_PROBLEMS) > 0:
            problems.append(
                Problem(where, "values of their types", f"{more:,} further ones that are not", remedy)
            )
        raise BadInput(problems) from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _place(where: str, location: tuple[int | str, ...]) -> str:
    """Return the file with the path of a key in it, for example `metrics.json: test.confusion.0`."""
    path = ".".join(excerpt(str(part), _LONGEST) for part in location)
    return f"{where}: {path}" if path else where


def _difference(details: Any) -> tuple[str, str]:
    """Return what pydantic expected and found."""
    if details["type"] == "missing":
        return "a value", "none"
    if details["type"].startswith("union_tag"):
        return f"an object with {details['ctx']['discriminator']}", "another one"
    expected = str(details["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    found = details["input"]
    if isinstance(found, dict):
        return expected, "an object"
    if isinstance(found, list):
        return expected, f"a list of {len(found):,}"
    return expected, excerpt(repr(found), _LONGEST)
