"""Tells the text column from the label column of a file of two columns by their values, if names do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from submillion import notices
from submillion.data.column_values import look_like_labels, look_like_texts, sampled_values
from submillion.data.columns import choose_columns
from submillion.data.formats import open_table
from submillion.data.table import ID, Table
from submillion.errors import BadInput

NUMBERING = ("", ID, "index", "unnamed: 0")
"""Names of columns that number the rows, in lower case; pandas writes the last one, and the first one too."""


def columns_by_content(
    file: Path,
    text: str | Sequence[str] | None,
    label: str | None,
    encoding: str | None,
    split: str | None = None,
) -> tuple[str, str] | None:
    """Return the text and the label column of a file whose columns have other names than the usual ones.

    Besides columns that number the rows or name their splits, the file has two. The values of one occur again, at
    least twice each on average; most values of the other are longer than all of these and differ.

    Args:
        file: in the formats that `formats.open_table` reads.
        text: text column, or several, if the caller has named any.
        label: label column, if the caller has named it.
        encoding: of the file; None finds it.
        split: column that names the split of each row, if there is one.

    Returns:
        None if names tell them, if the values do not, or if the file cannot be read, which reading it reports.
    """
    with notices.suppressed():  # reading the file gives them
        try:
            table = open_table(file, encoding)
        except BadInput:
            return None
        if _names_tell(table, text, label):
            return None
    pair = [name for name in table.columns if name.lower() not in NUMBERING and name != split]
    if len(set(pair)) != 2 or len(pair) != 2 or not _unnamed_is_numbering(table):
        return None
    columns = sampled_values(table, pair)
    for own, other in ((0, 1), (1, 0)):
        named = text in (None, pair[own], [pair[own]]) and label in (None, pair[other])
        if named and look_like_labels(columns[other]) and look_like_texts(columns[own], columns[other]):
            return pair[own], pair[other]
    return None


def _unnamed_is_numbering(table: Table) -> bool:
    """Return whether a file has no column without a name, or one, whose values are whole numbers or none."""
    unnamed = table.columns.count("")
    if unnamed != 1:
        return unnamed == 0
    return all(value.isdecimal() for value in sampled_values(table, [""])[0])


def _names_tell(table: Table, text: str | Sequence[str] | None, label: str | None) -> bool:
    try:
        choose_columns(table, text, label)
    except BadInput:
        return False
    return True
