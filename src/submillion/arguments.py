"""Checks arguments of the Python API: one of a wrong type is refused before anything is read or changed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

from submillion.errors import BadInput, Problem
from submillion.wording import excerpt

SHOWN = 60
"""Characters of a value in a message."""
_COLUMN = re.compile(r"@\{data\.(text|label)(?=[=}])")


def check_path(value: Any, name: str, expected: str = "a path: a string or a Path", remedy: str = "") -> None:
    """Refuse what is no path.

    Args:
        value: of the caller.
        name: the argument that has it.
        expected: what may be passed, where that is more than a path.
        remedy: what to pass instead.

    Raises:
        BadInput: it is neither a string nor a path, or it is empty.
    """
    is_path = isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)
    # A string first: a table or an array has no truth value.
    if not (is_path or (isinstance(value, str) and value)):
        raise BadInput(_problem(name, expected, value, remedy))


def check_text(value: Any, name: str, optional: bool = True) -> None:
    """Refuse what is no string.

    Args:
        value: of the caller.
        name: the argument that has it.
        optional: None is fine too.

    Raises:
        BadInput: it is something else.
    """
    if not (isinstance(value, str) or (optional and value is None)):
        raise _wrong(name, "a string", value)


def check_columns(value: Any, name: str) -> None:
    """Refuse what names no columns: None and one string are fine, and so is a list of names.

    Args:
        value: of the caller.
        name: the argument that has it.

    Raises:
        BadInput: it is something else, such as a set, whose order is not known, or a name is empty.
    """
    if value is None or isinstance(value, str):
        return
    if not isinstance(value, Sequence) or not all(isinstance(one, str) and one for one in value):
        raise _wrong(name, "the name of a column, or a list of names", value)


def check_names(value: Any, name: str, ordered: bool = False) -> None:
    """Refuse what is no list of strings.

    Args:
        value: of the caller.
        name: the argument that has it.
        ordered: the order has a meaning, so a set will not do.

    Raises:
        BadInput: it is something else, such as one string, whose characters are no names.
    """
    is_list = isinstance(value, Sequence if ordered else Sequence | Set) and not isinstance(value, str)
    if not is_list or not all(isinstance(one, str) for one in value):
        raise _wrong(name, "a list of strings", value)


def check_count(value: Any, name: str) -> None:
    """Refuse what is no number of things.

    Args:
        value: of the caller.
        name: the argument that has it.

    Raises:
        BadInput: it is no whole number from 1 on.
    """
    check_counts({name: value})


def check_counts(values: Mapping[str, Any], least: int = 1, others: Sequence[Problem] = ()) -> None:
    """Refuse what are no numbers of things, all of them in one message.

    Args:
        values: of the caller, by argument.
        least: the smallest number.
        others: problems of other arguments, for the same message.

    Raises:
        BadInput: one is no whole number from `least` on, or there are other problems.
    """
    problems = [
        _problem(name, f"a whole number from {least} on", value)
        for name, value in values.items()
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least
    ]
    if others or problems:
        raise BadInput([*others, *problems])


def check_share(value: Any, name: str) -> None:
    """Refuse what is no share.

    Args:
        value: of the caller.
        name: the argument that has it.

    Raises:
        BadInput: it is no number from 0 to 1.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise _wrong(name, "a number from 0 to 1", value)


def check_flags(**values: Any) -> None:
    """Refuse what is neither True nor False: the string "no" would count as true.

    Args:
        values: of the caller, by argument; a truth value of numpy is fine.

    Raises:
        BadInput: one is something else.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            import numpy as np  # noqa: PLC0415 - most flags are Python's own

            if not isinstance(value, np.bool_):
                raise _wrong(name, "True or False", value)


@contextmanager
def columns_by_argument() -> Iterator[None]:
    """Name columns in messages as the arguments `text` and `label`, for calls that take no recipe fields."""
    try:
        yield
    except BadInput as error:
        if not any(_COLUMN.search(text) for one in error.problems for text in (one.where, one.remedy)):
            raise
        problems = [
            replace(one, where=_COLUMN.sub(r"@{\1", one.where), remedy=_COLUMN.sub(r"@{\1", one.remedy))
            for one in error.problems
        ]
        raise BadInput(problems) from None


def _problem(name: str, expected: str, value: Any, remedy: str = "") -> Problem:
    found = repr(value)
    if "\n" in found:  # of a table or a run, the first characters say nothing
        found = f"one {type(value).__name__}"
    return Problem(f"@{{{name}}}", expected, excerpt(found, SHOWN), remedy)


def _wrong(name: str, expected: str, value: Any) -> BadInput:
    return BadInput(_problem(name, expected, value))
