"""Texts and labels from files: labelled rows loaded whole for training, unlabelled texts as a stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.data.annotation import is_rejected, mark_of
from submillion.data.columns import Columns, check_columns, choose_columns, names_label
from submillion.data.copied_values import copied_text, id_text
from submillion.data.formats import open_table
from submillion.data.label_cell import TO_PREDICT, LabelCells
from submillion.data.one_hot_form import with_label_column
from submillion.data.review_marks import announce_marked
from submillion.data.row_problems import NoLabels, RowProblems
from submillion.data.rows import LabelledRows, flaw_of_text, label_text
from submillion.data.table import Malformed, Table
from submillion.errors import BadInput, Problem

EXPANSION = 200  # times the size of a file that its texts may have
LEAST = 256 << 20  # characters that the texts of every file may have


def read_rows(
    files: Sequence[str | Path],
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    extra: Sequence[str] | Mapping[str, str] = (),
    encoding: str | None = None,
    likely_encoding: str | None = None,
    skip_unlabelled: bool = False,
    more: Sequence[str | Path] = (),
) -> LabelledRows:
    """Read labelled texts from one file or several, in order.

    Rows that an annotation tool marked as rejected, or left without a class, are left out and counted in a notice.

    Args:
        files: in the formats that `formats.open_table` reads.
        text: text column, or several, joined with a space; None finds it by its usual names.
        label: label column; None finds it by its usual names.
        extra: further columns whose values are read as text; a mapping has the recipe field that names each.
        encoding: of the files; None finds it.
        likely_encoding: of files that are not utf-8, if `encoding` is None.
        skip_unlabelled: leave rows without a label out, with their number in a notice; otherwise they are refused.
        more: further files, read with the columns of the first file where they have them; where one lacks a column
            of `extra`, its rows have "" there.

    Raises:
        NoLabels: a file has no label column, or no row with a label.
        BadInput: a file cannot be read, lacks a column, or has rows without a valid text or label; all problems of a
            file at once, each with the places of the first few rows.
    """
    named_by = extra if isinstance(extra, Mapping) else dict.fromkeys(extra, "data.slice_columns")
    rows = LabelledRows(extra={name: [] for name in named_by}, more=len(more))
    for place, file in enumerate([*files, *more]):
        table = open_table(file, encoding, likely_encoding)
        for name, field in named_by.items():
            if place < len(files) or name in table.columns:
                check_columns(table, [name], field)
        before = len(rows)
        if place >= len(files):
            first = rows.columns[0]
            text = [name for name in first.text if name in table.columns] or None
            label = first.label if first.label in table.columns else None
        if label is None and not names_label(table):
            table = with_label_column(table)
        chosen = choose_columns(table, text, label)
        _read_into(rows, table, chosen, skip_unlabelled)
        if len(rows) == before:
            raise BadInput(Problem(str(file), "rows with a text and a label", "none"))
        rows.columns.append(chosen)
    return rows


def iter_texts(
    path: str | Path,
    text: str | Sequence[str] | None = None,
    batch: int = 1024,
    likely_encoding: str | None = None,
) -> Iterator[tuple[list[str], list[str]]]:
    """Stream texts from a file that may be larger than memory; labels are neither needed nor read.

    Args:
        path: in the formats that `formats.open_table` reads (a list in one .json document is loaded whole).
        text: text column, or several, joined with a space; None finds it by its usual names.
        batch: rows per step.
        likely_encoding: of a file that is not utf-8; None detects it.

    Returns:
        Steps of (ids, texts) in the file's order, no row left out. Ids are the file's own, empty where one is missing;
        without a column of ids they count from 0.

    Raises:
        BadInput: immediately if the file or its columns cannot be used, later if one of its rows cannot.
    """
    return ((ids, texts) for ids, texts, _ in iter_rows(path, text, batch, likely_encoding))


def iter_rows(
    path: str | Path,
    text: str | Sequence[str] | None = None,
    batch: int = 1024,
    likely_encoding: str | None = None,
    own_id: str | None = None,
    extra: Sequence[str] = (),
    usual_text: Callable[[], str | Sequence[str] | None] | None = None,
) -> Iterator[tuple[list[str], list[str], list[list[str]]]]:
    """Stream texts as `iter_texts` does, with the values of further columns.

    Args:
        path: as in `iter_texts`.
        text: as in `iter_texts`.
        batch: rows per step.
        likely_encoding: as in `iter_texts`.
        own_id: column of the ids; None takes `id`, if there is such a column.
        extra: columns whose values are wanted as text.
        usual_text: gives the text columns where `text` is None; not asked for lines and folders of texts.

    Returns:
        Steps of (ids, texts, values of the extra columns by row as `copied_text` writes them).

    Raises:
        BadInput: as in `iter_texts`, or a named column does not exist or occurs twice.
    """
    table = open_table(path, likely=likely_encoding)
    check_columns(table, extra, "kept")
    if text is None and usual_text and not table.is_plain:
        text = usual_text()
    return _stream(table, choose_columns(table, text, labelled=False, own_id=own_id), batch, extra)


def _stream(
    table: Table, chosen: Columns, batch: int, extra: Sequence[str]
) -> Iterator[tuple[list[str], list[str], list[list[str]]]]:
    ids: list[str] = []
    texts: list[str] = []
    further: list[list[str]] = []
    count = empty = 0
    for place, row_id, text, _, values in _picked(table, chosen, extra):
        own_id = str(count) if chosen.id is None else id_text(row_id)
        copied = [copied_text(value) for value in values]
        problem = next(filter(None, map(flaw_of_text, (text, own_id, *copied))), None)
        if problem:
            raise BadInput(Problem(f"{table.path}, {table.unit} {place}", *problem))
        ids.append(own_id)
        texts.append(text)
        further.append(copied)
        count += 1
        empty += not text.strip()
        if len(texts) == batch:
            yield ids, texts, further
            ids, texts, further = [], [], []
    if texts:
        yield ids, texts, further
    if not count:
        raise BadInput(Problem(str(table.path), "rows with a text", "none"))
    if empty:
        notices.emit("empty_texts", f"{table.path.name}: {empty:,} of {count:,} texts are empty.", rows=empty)


def _read_into(rows: LabelledRows, table: Table, chosen: Columns, skip_unlabelled: bool) -> None:
    problems = RowProblems(table)
    cells = LabelCells(table, chosen, skip_unlabelled)
    names = table.class_names.get(chosen.label or "", [])
    rows.numbers_named = names if not rows.files or names == rows.numbers_named else []
    rows.files.append((table.path, table.unit))
    used = [name for name in (*chosen.text, chosen.label, chosen.id, *rows.extra) if name]
    mark = mark_of(table, used)
    filled = {name: values for name, values in rows.extra.items() if name in table.columns}
    columns = [*filled, *([mark] if mark else [])]
    for place, row_id, text, value, further in _picked(table, chosen, columns, problems):
        if mark and is_rejected(mark, further.pop()):
            cells.leave_out(f"marked as rejected in column '{mark}'")
            continue
        label, flaw_of_label = cells.label(value)
        flaw_of_row = flaw_of_text(text) or _flaw_of_id(row_id)
        for flaw in filter(None, (flaw_of_row, flaw_of_label)):
            problems.add(place, *flaw)
        if flaw_of_row or label is None:
            continue
        rows.ids.append(str(len(rows)) if chosen.id is None else id_text(row_id))
        rows.texts.append(text)
        rows.labels.append(sys.intern(label))  # one string for all rows of a class
        rows.file_of.append(len(rows.files) - 1)
        rows.places.append(place)
        for values, cell in zip(filled.values(), further, strict=False):
            values.append(sys.intern(_cell_text(cell)))
    for values in rows.extra.values():
        values += [""] * (len(rows) - len(values))
    if cells.count and cells.missing == cells.count:
        raise NoLabels(
            Problem(str(table.path), f"labels in column '{chosen.label}'", "none in any row", TO_PREDICT)
        )
    cells.announce()
    problems.raise_any()
    announce_marked(table, [*used, *([mark] if mark else [])])


def _flaw_of_id(row_id: Any) -> tuple[str, str] | None:
    return flaw_of_text(id_text(row_id)) if isinstance(row_id, str | list | dict) else None


def _picked(
    table: Table, chosen: Columns, extra: Sequence[str] = (), problems: RowProblems | None = None
) -> Iterator[tuple[int, Any, str, Any, list[Any]]]:
    """Yield (place, own id or None, text, label's value, values of extra columns) per row.

    Malformed rows are collected, or end the stream.
    """
    named = [*chosen.text, *(name for name in (chosen.label, chosen.id) if name), *extra]
    wanted = list(dict.fromkeys(named))
    texts, further = ([wanted.index(name) for name in names] for names in (chosen.text, extra))
    own_id, label = (wanted.index(name) if name else None for name in (chosen.id, chosen.label))
    # Of a folder, every text is a file: nothing is compressed.
    allowed = max(LEAST, EXPANSION * table.path.stat().st_size) if table.path.is_file() else sys.maxsize
    for place, values in table.rows(wanted):
        if isinstance(values, Malformed):
            if problems is None:
                raise BadInput(
                    Problem(
                        f"{table.path}, {table.unit} {place}",
                        values.expected or "a row like the others",
                        values.found,
                        values.remedy,
                    )
                )
            problems.add(place, values.expected or "rows like the others", values.found, values.remedy)
            continue
        joined = _joined([values[index] for index in texts])
        allowed -= len(joined) if isinstance(joined, str | bytes) else 0
        if allowed < 0:
            raise BadInput(
                Problem(
                    f"{table.path}, {table.unit} {place}",
                    f"texts of at most {EXPANSION} times the size of the file",
                    "more, so that it would fill memory and disk",
                    "If the file is in order, save it without compression, or as csv.",
                )
            )
        yield (
            place,
            None if own_id is None else values[own_id],
            joined,
            None if label is None else values[label],
            [values[index] for index in further],
        )


def _cell_text(value: Any) -> str:
    """Return a cell as text; an empty string for an empty cell."""
    text = label_text(value)
    if text is not None:
        return text
    return "" if value is None or value != value or value == "" else str(value).strip()


def _joined(values: Sequence[Any]) -> Any:
    """Return the text of one or more columns, or the first value that is neither text nor number."""
    parts = ["" if value is None else value for value in values]
    for index, value in enumerate(parts):
        if isinstance(value, int | float):
            parts[index] = "" if value != value else str(value)  # a missing number is NaN, unequal to itself
        elif not isinstance(value, str):
            return value
    return parts[0] if len(parts) == 1 else " ".join(part for part in parts if part)
