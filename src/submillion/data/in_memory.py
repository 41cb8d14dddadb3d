"""Labelled rows from Python objects: lists, numpy arrays, pandas and polars Series, pyarrow arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from submillion.data.arrow_form import write_strings
from submillion.data.columns import Columns
from submillion.data.rows import ClassValue, LabelledRows, flaw_of_text, label_text, shown
from submillion.data.table import ID, LABEL, TEXT
from submillion.data.text_column import TextColumn
from submillion.errors import BadInput, Problem
from submillion.files.atomic import atomic_file

FILE = "train.parquet"
"""Name of the file with the in-memory rows of a run, also in messages about these rows."""
MISSING = "a missing value"
TOO_LARGE = "an integer beyond the range of int64"
INT64 = 2**63  # numpy makes floats of integers from here on beside negative or small ones
POSITIONS = 10  # positions listed in one message
ROWS_PER_GROUP = 65_536
LABEL_TYPES: dict[type, str] = {bool: "booleans", int: "integers", float: "floats", str: "strings"}


def labelled_rows(texts: Iterable[Any], labels: Iterable[Any], name: str = FILE) -> LabelledRows:
    """Return texts and labels of equal length as rows; ids are "0" to "N-1".

    Class names are the labels as text, as a file with these labels would have them: 1 -> "1", True -> "true",
    2.0 -> "2". `class_values` of the result maps each name back to the caller's value.

    Args:
        texts: N strings in a list, a numpy array, a pandas or polars Series, a pyarrow (Chunked)Array or another
            iterable.
        labels: N strings, integers, booleans or whole floats, all of one type, in any of these forms.
        name: what messages call the rows: the file that a run keeps them in, or another name for rows that none keeps.

    Raises:
        BadInput: a column is not one-dimensional, lengths differ, values are missing or of the wrong type; all
            problems of both columns at once, with the positions (from 0) of the first few values.
    """
    text_values, label_values = values_of_column(texts, "texts"), values_of_column(labels, "labels")
    if len(text_values) != len(label_values):
        found = f"{len(text_values):,} texts and {len(label_values):,} labels"
        raise BadInput(Problem("@{texts} and @{labels}", "one label per text", found))
    if not text_values:
        raise BadInput(Problem("@{texts}", "at least one text", "none"))
    problems = _problems_of_texts(text_values)
    names, class_values, label_problems = _class_names(label_values)
    if problems := problems + label_problems:
        raise BadInput(problems)
    count = len(text_values)
    return LabelledRows(
        ids=TextColumn(map(str, range(count))),
        texts=TextColumn(text_values),
        labels=names,
        file_of=array("i", bytes(array("i").itemsize * count)),
        places=array("q", range(1, count + 1)),
        files=[(Path(name), "row")],
        columns=[Columns([TEXT], LABEL, None)],
        class_values=class_values,
    )


def text_values(texts: Iterable[Any]) -> list[str]:
    """Return texts, in any form that `labelled_rows` takes, as a list.

    Raises:
        BadInput: the column is not one-dimensional, or values are missing or no text.
    """
    values = values_of_column(texts, "texts")
    if problems := _problems_of_texts(values):
        raise BadInput(problems)
    return values


def write_rows(
    rows: LabelledRows, path: Path, text: str | Sequence[str] | None = None, label: str | None = None
) -> Columns:
    """Write texts and labels, as strings, to a parquet file that `read_rows` reads back as the same rows.

    Args:
        rows: N rows whose ids are running numbers.
        path: the file.
        text: text column, or several: the first holds the whole text, the others are empty. None writes `text`.
        label: label column; None writes `label`.

    Returns:
        The columns of the file.

    Raises:
        BadInput: no file has columns of these names; see `stored_columns`.
        SubmillionError: the disk refused the write.
    """
    columns = stored_columns(text, label)
    with atomic_file(path) as temporary:
        write_strings(
            temporary, [*columns.text, columns.label or LABEL], _portions(rows, len(columns.text) - 1)
        )
    return columns


def stored_columns(text: str | Sequence[str] | None, label: str | None) -> Columns:
    """Return the columns of the file that keeps rows from memory, so that the recipe finds them there again.

    Args:
        text: `data.text` of the recipe.
        label: `data.label` of the recipe.

    Raises:
        BadInput: a name occurs twice, or the label column has the name of the rows' ids.
    """
    texts = [text] if isinstance(text, str) else list(text or [TEXT])
    columns = Columns(texts, label or LABEL, None)
    names = [*texts, label or LABEL]
    # A usual name is found whatever its capitals are.
    spelled = names if text and label else [name.lower() for name in names]
    if len(set(spelled)) < len(names) or names[-1].lower() == ID:
        expected = f"columns of different names to store the texts in, and no labels in `{ID}`"
        found = f"{', '.join(texts)} for the texts and {names[-1]} for the labels"
        raise BadInput(Problem("@{data.text} and @{data.label}", expected, found, "Leave them out."))
    return columns


def _portions(rows: LabelledRows, n_empty: int) -> Iterator[list[list[str]]]:
    """Yield the columns of some rows at a time: texts, `n_empty` columns of empty texts, labels."""
    for start in range(0, len(rows), ROWS_PER_GROUP):
        part = slice(start, start + ROWS_PER_GROUP)
        texts = rows.texts[part]
        yield [list(texts), *([""] * len(texts) for _ in range(n_empty)), rows.labels[part]]


def values_of_column(column: Any, name: str) -> list[Any]:
    """Return the values of a one-dimensional column as Python objects; they are not checked.

    Args:
        column: in any form that `labelled_rows` takes.
        name: the argument that has it.

    Raises:
        BadInput: it is no such column.
    """
    found = _not_a_column(column)
    if found:
        expected = "a one-dimensional column: a list, an array or a Series"
        remedy = "Pass a list, also of a single value." if isinstance(column, str) else ""
        remedy = "Pass one of its columns." if hasattr(column, "columns") else remedy
        raise BadInput(Problem(f"@{{{name}}}", expected, found, remedy))
    # pyarrow; pandas and polars; numpy and torch. None of them is imported to find out.
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            return list(getattr(column, method)())
    return list(column)


def _not_a_column(column: Any) -> str | None:
    """Return a description of an object that is not a column of values, None for one that may be."""
    kind = type(column).__name__
    shape = getattr(column, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 1:
        return f"one {kind} of shape ({', '.join(map(str, shape))})"
    if isinstance(column, str | bytes | Mapping | Set) or not isinstance(column, Iterable):
        return f"one {kind}"
    return None


def _problems_of_texts(texts: Sequence[Any]) -> list[Problem]:
    flaws: dict[tuple[str, str], list[int]] = {}
    for position, text in enumerate(texts):
        flaw = ("a text", MISSING) if _is_missing(text) else flaw_of_text(text)
        if flaw:
            expected, found = flaw
            wrong_type = not isinstance(text, str) and not _is_missing(text)
            flaws.setdefault((expected, type(text).__name__ if wrong_type else found), []).append(position)
    return [
        Problem(f"@{{texts}}, {_positions(positions)}", expected, found)
        for (expected, found), positions in flaws.items()
    ]


def _class_names(labels: Sequence[Any]) -> tuple[list[str], dict[str, ClassValue], list[Problem]]:
    """Return the class name of each label, the caller's value of each name, and the problems with the labels."""
    names: list[str] = []
    values: dict[str, ClassValue] = {}
    by_type: dict[type, list[int]] = {}
    flaws: dict[str, list[int]] = {}
    for position, given in enumerate(labels):
        value = given.item() if isinstance(given, np.generic) else given
        kind = next((kind for kind in LABEL_TYPES if isinstance(value, kind)), None)
        name = label_text(value) if kind else None
        if _is_missing(value) or value == "":
            flaws.setdefault(MISSING, []).append(position)
        elif kind is int and not -INT64 <= value < INT64:
            flaws.setdefault(TOO_LARGE, []).append(position)
        elif kind is None or name is None or flaw_of_text(name):
            flaws.setdefault(shown(value) if kind else type(value).__name__, []).append(position)
        else:
            by_type.setdefault(kind, []).append(position)
            names.append(name)
            # A member of an enumeration is its text or number; `str()` of one may be its name.
            values.setdefault(name, str.__str__(value) if isinstance(value, str) else kind(value))
            if kind is str and values[name] != value:
                flaws.setdefault(f"{value!r} beside {values[name]!r}", []).append(position)
    problems = [
        Problem(
            f"@{{labels}}, {_positions(positions)}",
            "a class: a string, an integer or a boolean",
            found,
            {
                MISSING: "Leave out the texts without a label.",
                TOO_LARGE: "Convert the labels to strings.",
            }.get(found, ""),
        )
        for found, positions in flaws.items()
    ]
    if len(by_type) > 1:
        found = " and ".join(
            f"{LABEL_TYPES[kind]} ({_positions(positions)})" for kind, positions in by_type.items()
        )
        problems.append(Problem("@{labels}", "labels of one type", found, "Convert them to one type."))
    return names, values, problems


def _is_missing(value: Any) -> bool:
    # pandas' NA and NaT are recognised by name: comparing NA with itself is not a boolean.
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _positions(positions: Sequence[int]) -> str:
    """Return such as `position 3` or `positions 3, 5 and 4 more`; at most POSITIONS are named."""
    named = ", ".join(str(position) for position in positions[:POSITIONS])
    more = f" and {len(positions) - POSITIONS:,} more" if len(positions) > POSITIONS else ""
    return f"{'position' if len(positions) == 1 else 'positions'} {named}{more}"
