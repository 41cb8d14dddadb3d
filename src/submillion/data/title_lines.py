"""Recognises the lines above the header of a table: a title, a date, an empty line, as reports are exported."""

from __future__ import annotations

from collections.abc import Sequence

from submillion.data.columns import LABEL_NAMES, TEXT_NAMES, is_usual_name

MOST = 20  # lines above a header


def lines_above_header(records: Sequence[Sequence[str]]) -> int:
    """Return the number of records above the header; 0 if the first one may be it.

    The first record has a single value, which is no usual name of a column, and the ones after it have one at most. The
    first record with several values is the header if one of them is a usual name and most records after it are as wide.
    Instead it may name groups of columns, with the header below it.

    Args:
        records: the first ones of a file.

    Example:
        >>> lines_above_header([["Reviews in May", ""], [], ["text", "label"], ["arrived broken", "bad"]])
        2
    """
    values = [[cell.strip() for cell in record if cell.strip()] for record in records]
    place = next((place for place, row in enumerate(values[: MOST + 1]) if len(row) > 1), 0)
    if place and (len(values[0]) != 1 or is_usual_name(values[0][0])):
        return 0
    if _names_groups(records[place:]):
        return place + 1
    return place if place and any(map(is_usual_name, values[place])) and _alike(records[place:]) else 0


def _alike(records: Sequence[Sequence[str]]) -> bool:
    """Return whether most records below the first are as wide as it is."""
    below = [record for record in records[1:] if record]
    return 2 * sum(len(record) == len(records[0]) for record in below) > len(below)


def _names_groups(records: Sequence[Sequence[str]]) -> bool:
    """Return whether the first record names groups of columns, as merged cells do, and the second one the columns.

    A row of values differs from such a header: a class occurs again further down, and a number is no name.
    """
    if len(records) < 2 or len(records[0]) != len(records[1]):
        return False
    pairs = [(group.strip(), name.strip()) for group, name in zip(*records[:2], strict=True)]
    groups, names = zip(*[pair for pair in pairs if any(pair)] or [("", "")], strict=True)
    lower = {name.lower() for name in names}
    if any(map(is_usual_name, groups)) or len(lower) < len(names) or "" in lower:
        return False
    if any(name.isdecimal() for name in names) or not any(map(is_usual_name, names)):
        return False
    grouped = "" in groups[1:] or len(set(groups)) < len(groups)
    if not grouped and not (lower & set(TEXT_NAMES) and lower & set(LABEL_NAMES)):
        return False
    places = [place for place, (_, name) in enumerate(pairs) if is_usual_name(name)]
    below = [record for record in records[2:] if list(record) != list(records[1])]
    again = any(
        place < len(record) and record[place].strip() == pairs[place][1]
        for record in below
        for place in places
    )
    return not again and _alike(records[1:])
