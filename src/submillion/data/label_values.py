"""The normal form of a label: its text without invisible differences, and the number or truth value that it writes."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache

import numpy as np

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
"""Characters without a width; inside a word some scripts need them, at its ends none does."""
DIRECTIONS = dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
"""Marks of the direction of writing, which word processors and chats add; a label needs none."""
VARIANTS = {0xFE0E: None, 0xFE0F: None}
"""Selectors of a symbol's form, plain or coloured: the same emoji is written with and without one."""
BOOLEANS = {"false": Decimal(0), "true": Decimal(1)}
LARGEST_WHOLE = 10**15
"""Larger floats are not exact."""
# A leading zero is not part of a number: 007 is a code. Longer digits are ids, and slow to convert.
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d{0,14})(?:\.\d{0,15})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_DIGITS = re.compile(r"-?\d{1,15}(?:\.\d{0,15})?", re.ASCII)


def tidy(label: str) -> str:
    """Return a label without differences that nobody can see.

    Letters with accents are composed (Unicode form NFC), every run of white space, no-break spaces included, is one
    space, and there is neither white space nor a character without width at the ends. Marks of direction are removed.
    """
    if not label.isascii():
        label = unicodedata.normalize("NFC", label.translate(DIRECTIONS)).strip(INVISIBLE)
    tidied = " ".join(label.split())
    return tidied if tidied.isascii() else tidied.strip(INVISIBLE)


def plain_symbols(label: str) -> str:
    """Return a label without the selectors of a symbol's form."""
    return label if label.isascii() else label.translate(VARIANTS)


def folded(label: str) -> str:
    """Return a label without its differences of case, blanks and compatibility forms (Unicode form NFKC)."""
    plain = unicodedata.normalize("NFKC", plain_symbols(label).translate(DIRECTIONS)).casefold()
    return " ".join("".join(character for character in plain if character not in INVISIBLE).split())


def float_text(value: float) -> str | None:
    """Return a float as a label: 1.0 as `1`, 0.5 as `0.5`; None for infinity and for a missing number.

    A number from a column of 32-bit floats is written with the digits that such a float has: `0.1`, not
    `0.10000000149011612`.
    """
    if not np.isfinite(value):
        return None
    if value == int(value) and abs(value) < LARGEST_WHOLE:
        return str(int(value))
    single = np.float32(value) if abs(value) < np.finfo(np.float32).max else None
    return str(single) if single is not None and float(single) == value else repr(value)


@lru_cache(maxsize=10_000)
def number_of(label: str) -> Decimal | None:
    """Return the number that a label writes: 1 for `1`, `1.0`, `+1` and `1e0`; None for other texts and for `007`."""
    return Decimal(label) if _NUMBER.fullmatch(label) else None


def truth_of(label: str) -> Decimal | None:
    """Return 1 for `true` and 0 for `false`, in any case; None for other texts."""
    return BOOLEANS.get(label.lower())


def is_whole(number: Decimal) -> bool:
    """Return whether a number has no decimals."""
    return number == number.to_integral_value()


def sort_key(label: str) -> tuple[bool, Decimal, str]:
    """Sort numbers by their size, before names."""
    number = number_of(label)
    if number is None and _DIGITS.fullmatch(label):
        number = Decimal(label)
    return (number is None, Decimal(0) if number is None else number, label)
