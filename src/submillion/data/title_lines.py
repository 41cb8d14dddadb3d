"""Recognises the lines above the header of a table: a title, a date, an empty line, as reports are exported."""

from __future__ import annotations

from collections.abc import Sequence

from submillion.data.columns import is_usual_name

MOST = 20  # lines above a header


def lines_above_header(records: Sequence[Sequence[str]]) -> int:
    """Return the number of records above the header; 0 if the first one may be it.

    The first record has a single value, which is no usual name of a column, and the ones after it have one at most. The
    first record with several values is the header if one of them is a usual name and most records after it are as wide.

    Args:
        records: the first ones of a file.

    Example:
        >>> lines_above_header([["Reviews in May", ""], [], ["text", "label"], ["arrived broken", "bad"]])
        2
    """
    values = [[cell.strip() for cell in record if cell.strip()] for record in records]
    place = next((place for place, row in enumerate(values[: MOST + 1]) if len(row) > 1), 0)
    if not place or len(values[0]) != 1 or is_usual_name(values[0][0]):
        return 0
    below = [record for record in records[place + 1 :] if record]
    alike = sum(len(record) == len(records[place]) for record in below)
    return place if 2 * alike > len(below) and any(map(is_usual_name, values[place])) else 0
