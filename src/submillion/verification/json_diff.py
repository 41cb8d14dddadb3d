"""Compares two JSON values leaf by leaf."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NEAR_ZERO = 1e-3  # times the relative tolerance: the absolute tolerance for figures close to 0
MAX_CHARACTERS = 80  # of a value in a message


class Absent:
    """The value of a leaf that one side lacks."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT = Absent()


@dataclass(frozen=True)
class Difference:
    """One leaf in which two JSON values differ."""

    path: str
    """For example `test.per_class.World.f1` or `test.confusion[0][1]`."""
    claimed: Any
    found: Any


def differences(claimed: Any, found: Any, relative: float = 0.0, path: str = "") -> Iterator[Difference]:
    """Yield the leaves in which two JSON values differ, in the order of the first.

    Args:
        claimed: one value.
        found: the other value.
        relative: two numbers are equal if they differ by at most this share of the larger one, or near zero by at
            most a thousandth of this share. 1 and 1.0 are equal.
        path: prefix of the leaves' paths.
    """
    if isinstance(claimed, dict) and isinstance(found, dict):
        for key in [*claimed, *(key for key in found if key not in claimed)]:
            below = f"{path}.{key}" if path else str(key)
            yield from differences(claimed.get(key, ABSENT), found.get(key, ABSENT), relative, below)
    elif isinstance(claimed, list) and isinstance(found, list):
        if len(claimed) != len(found):
            yield Difference(path, f"{len(claimed)} entries", f"{len(found)}")
        for index, (one, other) in enumerate(zip(claimed, found, strict=False)):
            yield from differences(one, other, relative, f"{path}[{index}]")
    elif not same(claimed, found, relative):
        yield Difference(path, claimed, found)


def same(one: Any, other: Any, relative: float = 0.0) -> bool:
    """Return whether two leaves are equal, numbers up to a relative tolerance."""
    if is_number(one) and is_number(other):
        return one == other or math.isclose(one, other, rel_tol=relative, abs_tol=relative * NEAR_ZERO)
    return type(one) is type(other) and bool(one == other)


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def count_leaves(value: Any) -> int:
    """Return the number of leaves of a JSON value."""
    if isinstance(value, dict):
        return sum(map(count_leaves, value.values()))
    if isinstance(value, list):
        return sum(map(count_leaves, value))
    return 1


def shown(value: Any) -> str:
    """Format a value for a message: numbers with all digits, integers with commas, long texts cut."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, str | Absent):
        text = str(value) or "an empty text"
    else:
        text = json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"
