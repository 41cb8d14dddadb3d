"""A table with a column per class, of which each row marks one, read as a table with a label column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from submillion import notices
from submillion.data.column_values import FEWEST, sampled_values
from submillion.data.table import LABEL, Malformed, RowStream, Table, Unlabelled
from submillion.wording import listed

MARKED, BLANK = {"1", "1.0", "true", "x"}, {"0", "0.0", "false", ""}
"""Lower-case values of a class that a row has, and of the others."""
MOST = 1000  # columns of a table that are looked at


def with_label_column(table: Table) -> Table:
    """Return a table whose label is the name of the column that a row marks; the table itself if it is no such one.

    Two columns or more hold nothing but marks and blanks, and most rows mark one of them. A row that marks several has
    a list of them as its label, which is refused; one that marks none has no label.

    Args:
        table: the opened file, without a label column.
    """
    names = [name for name in dict.fromkeys(table.columns) if name]
    if len(names) != len(table.columns) or len(names) > MOST or LABEL in names:
        return table
    values = sampled_values(table, names, empty=True)
    cells = dict(zip(names, values, strict=True))
    classes = [name for name, column in cells.items() if set(map(str.lower, column)) <= MARKED | BLANK]
    # A column without a mark is none of a class, but one that nobody has filled in.
    classes = [name for name in classes if any(value.lower() in MARKED for value in cells[name])]
    if len(classes) < 2:
        return table
    marks = [len(_marked(classes, row)) for row in zip(*(cells[name] for name in classes), strict=True)]
    if len(marks) < FEWEST or 2 * marks.count(1) <= len(marks):
        return table
    notices.emit(
        "one_hot",
        f"{table.path.name}: the classes are the columns {listed([repr(name) for name in classes[:10]])}"
        f"{' and others' if len(classes) > 10 else ''}, of which a row marks one.",
    )

    def rows(wanted: Sequence[str]) -> RowStream:
        if LABEL not in wanted:
            yield from table.rows(wanted)
            return
        stored = [name for name in wanted if name != LABEL]
        place = list(wanted).index(LABEL)
        for number, values in table.rows([*stored, *classes]):
            if isinstance(values, Malformed):
                yield number, values
            else:
                own, marks = values[: len(stored)], values[len(stored) :]
                yield number, [*own[:place], _label(classes, marks), *own[place:]]

    return replace(table, columns=[*table.columns, LABEL], rows=rows, label=LABEL)


def _marked(classes: Sequence[str], row: Sequence[Any]) -> list[str]:
    return [name for name, value in zip(classes, row, strict=True) if str(value).strip().lower() in MARKED]


def _label(classes: Sequence[str], row: Sequence[Any]) -> Any:
    marked = _marked(classes, row)
    if len(marked) == 1:
        return marked[0]
    return marked or Unlabelled("without a mark in the column of a class")
