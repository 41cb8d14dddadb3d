"""Reads JSON that may come from anyone: bounded in size, depth and numbers; no NaN, repeated keys or surrogates."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from submillion.errors import BadInput, Problem
from submillion.wording import byte_count, excerpt

MAX_BYTES = 64 * 2**20
"""Size of the largest file that `read` reads."""
MAX_DEPTH = 64
"""Levels of lists and objects; the deepest JSON of a run has about ten."""
MAX_INTEGER_CHARACTERS = (
    20  # 2**63 has 19 digits; a longer one would take quadratic time, or be refused by int()
)
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character: neither a file in utf-8 nor a terminal can take it."""
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Refused(ValueError):
    """Valid JSON that is refused all the same."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected, found)
        self.expected, self.found = expected, found


def parse(text: str, where: str, expected: str = "JSON", *, nan: bool = False) -> Any:
    """Return the value of a JSON text.

    Args:
        text: the text, which may come from anyone.
        where: the file, and the line if it is one of many, for the error.
        expected: the kind of text, for the error.
        nan: accept NaN and Infinity, which are not JSON but which many programs write.

    Raises:
        BadInput: it is not JSON, an object has a key twice, an integer needs more than 64 bits, a number is not finite,
            a string has half of a surrogate pair, or lists and objects are nested more than `MAX_DEPTH` deep.
    """
    try:
        value = _DECODERS[nan].decode(text)
        # Both walks are seldom needed, and a file of many short lines would spend its time in them.
        if text.count("[") + text.count("{") > MAX_DEPTH:
            _check_depth(value)
        if _ESCAPED_SURROGATE.search(text) or LONE_SURROGATE.search(text):
            _check_strings(value)
    except Refused as error:
        raise BadInput(Problem(where, error.expected, error.found)) from None
    except RecursionError:
        raise BadInput(_too_deep(where)) from None
    except ValueError as error:
        found = f"a text that is not JSON ({excerpt(str(error), 200)})"
        raise BadInput(Problem(where, expected, found)) from None
    return value


def read(file: Path, expected: str, remedy: str = "", *, max_bytes: int = MAX_BYTES) -> Any:
    """Return the value of a JSON file in utf-8.

    Args:
        file: the file.
        expected: the kind of file, for the error.
        remedy: for the error if there is no such file, or if it is broken.
        max_bytes: a larger file is refused.

    Raises:
        BadInput: see `read_text` and `parse`.
    """
    text = read_text(file, expected, remedy, max_bytes=max_bytes)
    try:
        return parse(text, str(file), expected)
    except BadInput as error:
        raise BadInput([_with_remedy(problem, remedy) for problem in error.problems]) from None


def read_text(file: Path, expected: str, remedy: str = "", *, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a file in utf-8, without a byte order mark; arguments as in `read`.

    Raises:
        BadInput: the file is missing, cannot be read, is too large or not in utf-8.
    """
    try:
        if not file.is_file():  # reading a pipe would never end
            found = "no regular file" if file.exists() else "no such file"
            raise BadInput(Problem(str(file), expected, found, remedy))
        if (size := file.stat().st_size) > max_bytes:
            raise BadInput(Problem(str(file), f"at most {byte_count(max_bytes)}", byte_count(size), remedy))
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(Problem(str(file), expected, f"{error.strerror or error}", remedy)) from error
    except UnicodeDecodeError as error:
        found = f"a file that is not in utf-8 (byte {error.start})"
        raise BadInput(Problem(str(file), expected, found, remedy)) from None


def _with_remedy(problem: Problem, remedy: str) -> Problem:
    return Problem(problem.where, problem.expected, problem.found, problem.remedy or remedy)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object from its keys and values, as a hook of `json`; a key twice raises Refused."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in values if names.count(name) > 1)
        raise Refused("every key once", f"'{excerpt(twice, 60)}' twice in one object")
    return values


def _integer(digits: str) -> int:
    if len(digits) <= MAX_INTEGER_CHARACTERS and -(2**63) <= (value := int(digits)) < 2**64:
        return value
    raise Refused("integers of at most 64 bits", f"an integer of {len(digits.lstrip('-')):,} digits")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise Refused("numbers within the range of 64-bit floats", excerpt(number, 40))
    return value


def _no_constant(name: str) -> float:
    raise Refused("finite numbers", name)


_DECODERS = {
    nan: json.JSONDecoder(
        object_pairs_hook=unique,
        parse_int=_integer,
        parse_float=None if nan else _finite,
        parse_constant=None if nan else _no_constant,
    )
    for nan in (False, True)
}


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            part
            for item in level
            if isinstance(item, dict | list)
            for part in (item.values() if isinstance(item, dict) else item)
            if isinstance(part, dict | list)
        ]
        if not level:
            return
    raise RecursionError


def _check_strings(value: Any) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and (half := LONE_SURROGATE.search(item)):
            raise Refused("text", f"half of a surrogate pair (\\u{ord(half[0]):04x})")


def _too_deep(where: str) -> Problem:
    return Problem(where, f"at most {MAX_DEPTH} levels of lists and objects", "more")
