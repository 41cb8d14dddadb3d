"""What the values of a column look like: classes, which occur again, or texts, which differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from submillion.data.table import Malformed, Table
from submillion.errors import BadInput

SAMPLE = 1000  # rows that are looked at
FEWEST = 4  # rows that can show it


def sampled_values(table: Table, names: Sequence[str], *, empty: bool = False) -> list[list[str]]:
    """Return the first values of some columns as text; none of a file that is broken there.

    Args:
        table: the opened file.
        names: its columns.
        empty: with empty ones, as empty strings.
    """
    try:
        records = [values for _, values in islice(table.rows(names), SAMPLE)]
    except BadInput:
        records = []
    rows = [values for values in records if not isinstance(values, Malformed)]
    columns = [
        ["" if row[place] is None else str(row[place]).strip() for row in rows] for place in range(len(names))
    ]
    return columns if empty else [[value for value in column if value] for column in columns]


def look_like_labels(values: Sequence[str]) -> bool:
    """Return whether values occur at least twice each on average, and differ.

    Example:
        >>> look_like_labels(["good", "bad", "good", "good"])
        True
        >>> look_like_labels(["0.7", "0.2", "0.9", "0.4"])
        False
    """
    return len(values) >= FEWEST and 2 <= len(set(values)) <= len(values) / 2


def have_several_words(values: Sequence[str]) -> bool:
    """Return whether most values have three words or more.

    Example:
        >>> have_several_words(["it arrived broken", "works well enough", "no"])
        True
    """
    return 2 * sum(len(value.split()) > 2 for value in values) > len(values)


def look_like_texts(values: Sequence[str], labels: Sequence[str]) -> bool:
    """Return whether most values differ, and most are longer than every label.

    Example:
        >>> look_like_texts(["arrived broken", "works well"], ["bad", "good"])
        True
    """
    longest = max(map(len, labels), default=0)
    longer = sum(len(value) > longest for value in values)
    return 2 * longer > len(values) and 2 * len(set(values)) > len(values)
