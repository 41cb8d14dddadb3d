"""Recognises a table of texts and labels whose first line is a row, not a header."""

from __future__ import annotations

from collections.abc import Sequence

from submillion.data.column_values import FEWEST
from submillion.data.columns import is_usual_name
from submillion.data.table import LABEL, TEXT
from submillion.sources.records import BOM


def names_without_header(records: Sequence[Sequence[str]]) -> list[str] | None:
    """Return the names of the columns of records without a header: text and label, in their order.

    In such a file the first label occurs again further down beside another text, which the name of a column hardly
    does, and the first text has several words.

    Args:
        records: the first ones of a file.

    Returns:
        None if the first record may be a header, or the records have other columns than two.

    Example:
        >>> names_without_header([["ham", "See you at five"], ["spam", "Win now"], ["ham", "Ok"], ["ham", "On my way"]])
        ['label', 'text']
    """
    records = [record for record in records if record]
    if len(records) < FEWEST or any(len(record) != 2 for record in records):
        return None
    if any(is_usual_name(cell.strip()) for cell in records[0]):
        return None
    columns = [[record[place].strip() for record in records] for place in (0, 1)]
    distinct = [len(set(column)) for column in columns]
    if distinct[0] == distinct[1]:
        return None
    label = 0 if distinct[0] < distinct[1] else 1
    labels, texts = columns[label], columns[1 - label]
    others = zip(labels[1:], texts[1:], strict=True)
    again = any(name == labels[0] and text.removeprefix(BOM) != texts[0] for name, text in others)
    if not again or 2 * distinct[label] > len(records) or len(texts[0].split()) < 2:
        return None
    return [LABEL, TEXT] if label == 0 else [TEXT, LABEL]
