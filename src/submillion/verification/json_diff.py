"""Compares two JSON values leaf by leaf, and says where they differ."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NEAR_ZERO = 1e-3  # times the relative tolerance: how far from each other two figures close to 0 may be
LONGEST = 80  # characters of a value in a message


class Absent:
    """What stands where one side has no value."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT = Absent()


@dataclass(frozen=True)
class Difference:
    """One leaf that is not the same."""

    path: str
    """For example `test.per_class.World.f1` or `test.confusion[0][1]`."""
    claimed: Any
    found: Any


def differences(claimed: Any, found: Any, relative: float = 0.0, path: str = "") -> Iterator[Difference]:
    """Yield the leaves in which two JSON values differ, in the order of the first.

    Args:
        relative: two numbers are the same when they differ by at most this share of the larger one, or by a
            thousandth of it where they are near zero. Whole numbers and 1.0 for 1 are compared as numbers.
        path: of the two values, for the paths of the leaves.
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
    """Return whether two leaves are the same, numbers up to a relative tolerance."""
    if is_number(one) and is_number(other):
        return one == other or math.isclose(one, other, rel_tol=relative, abs_tol=relative * NEAR_ZERO)
    return type(one) is type(other) and bool(one == other)


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def leaves(value: Any) -> int:
    """Return how many leaves a JSON value has."""
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    if isinstance(value, list):
        return sum(map(leaves, value))
    return 1


def shown(value: Any) -> str:
    """Write a value for a message: numbers with all their digits, whole ones with commas, long ones cut."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, str | Absent):
        text = str(value) or "an empty text"
    else:
        text = json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
