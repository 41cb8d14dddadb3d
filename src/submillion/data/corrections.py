"""Corrections of training labels: a csv that a report writes, a person fills in, and a training reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.data.columns import check_columns
from submillion.data.formats import open_table
from submillion.data.labels import Classes
from submillion.data.rows import LabelledRows, label_text
from submillion.data.table import Malformed
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.files.spreadsheet_cells import cell_value
from submillion.wording import plural

ID, LABEL, CORRECTED, TEXT_SHA256 = "id", "label", "corrected_label", "text_sha256"
"""The columns that are read; a file may have others, for its reader."""
DROP = "drop"
"""In place of a corrected label: the row is not used. A class of this name is meant first."""
LINES = 10  # problems of one message


@dataclass(frozen=True)
class Correction:
    """One line of the file."""

    where: str
    """Such as `suspects.csv, line 7`."""
    id: str
    text_sha256: str
    label: str
    """The label that the report found."""
    corrected: str
    """The label that a person wrote; empty if the label is right."""


@dataclass(frozen=True)
class Corrections:
    """A file of corrections."""

    name: str
    """The file's name, without its folder."""
    content: bytes
    lines: list[Correction]


def read_corrections(source: str | Path) -> Corrections:
    """Read a file of corrections: a csv, or whatever a spreadsheet has saved it as.

    Raises:
        BadInput: the file cannot be read, lacks a column, or corrects nothing.
    """
    path = Path(source)
    table = open_table(path)
    names = (ID, LABEL, CORRECTED, TEXT_SHA256)
    check_columns(table, names, "data.corrections")
    lines = []
    for place, values in table.rows(names):
        where = f"{path.name}, {table.unit} {place}"
        if isinstance(values, Malformed):
            raise BadInput(Problem(where, values.expected or "a row like the others", values.found))
        cells = [cell_value(_text(value)) for value in values]
        lines.append(Correction(where, cells[0], cells[3].lower(), cells[1], cells[2]))
    if not any(line.corrected for line in lines):
        remedy = f"Write the right label into '{CORRECTED}' where '{LABEL}' is wrong."
        raise BadInput(Problem(str(path), f"a value in column '{CORRECTED}'", "none in any row", remedy))
    return Corrections(path.name, path.read_bytes(), lines)


def correct(
    rows: LabelledRows, corrections: Corrections, classes: Classes
) -> tuple[LabelledRows, dict[str, Any]]:
    """Return training rows with the corrected labels, without the dropped rows.

    A line means the row of its text, by sha256; of several rows with this text, those of its id.

    Args:
        rows: the training rows with their classes; they stay unchanged.
        corrections: as read.
        classes: of the run.

    Returns:
        The rows, and the facts for the manifest.

    Raises:
        BadInput: a line whose text is not among the training texts, whose corrected label is no class, that
            contradicts another line, or whose `label` was edited; at most LINES of them.
    """
    wanted = {line.text_sha256 for line in corrections.lines}
    by_text: dict[str, list[int]] = {}
    for row, text in enumerate(rows.texts):
        if (digest := hashlib.sha256(text.encode()).hexdigest()) in wanted:
            by_text.setdefault(digest, []).append(row)
    decided: dict[int, int | None] = {}
    problems = []
    for line in corrections.lines:
        meant = rows_meant(line, by_text.get(line.text_sha256, []), rows.ids)
        found = _class_of(line, classes) if line.corrected else None
        if not line.corrected:
            if meant and line.label and {rows.classes[row] for row in meant} != {classes.find(line.label)}:
                own = classes.names[rows.classes[meant[0]]]
                if _without_zeros(own) != line.label:
                    problems.append(_edited(line, own))
        elif not meant:
            problems.append(_unmatched(line))
        elif isinstance(found, Problem):
            problems.append(found)
        elif any(decided.get(row, found) != found for row in meant):
            problems.append(Problem(line.where, "one correction of a row", "another one in an earlier line"))
        else:
            decided |= dict.fromkeys(meant, found)
    if problems:
        raise BadInput(problems[:LINES] + _more(problems))
    return _changed(rows, decided, classes), _facts(rows, decided, corrections)


def rows_meant(line: Correction, same: Sequence[int], ids: Sequence[str]) -> Sequence[int]:
    """Return the rows that a line means.

    Args:
        line: as read.
        same: the rows that have its text.
        ids: of all rows.
    """
    # A spreadsheet may have changed an id such as 007, which a text that occurs once does not need.
    return same if len(same) == 1 else [row for row in same if ids[row] == line.id]


def _class_of(line: Correction, classes: Classes) -> int | Problem | None:
    """Return the class of a corrected label, None for a dropped row, or the problem with it."""
    index = classes.find(line.corrected)
    if index is None and line.corrected.lower() != DROP:
        expected = f"a class in column '{CORRECTED}', or '{DROP}'"
        meant = [name for name in classes.names if _without_zeros(name) == line.corrected]
        hint = did_you_mean(line.corrected, classes.names)
        if len(meant) == 1:
            hint = f"Did you mean '{meant[0]}'? Spreadsheets remove zeros unless the cells are formatted as text."
        return Problem(line.where, expected, f"'{line.corrected}'", hint)
    return index


def _without_zeros(label: str) -> str:
    """Return a label as a spreadsheet writes it that took it for a number: 7 for `007`."""
    return label.lstrip("0") or "0" if label.isdecimal() else label


def _changed(rows: LabelledRows, decided: Mapping[int, int | None], classes: Classes) -> LabelledRows:
    indices, labels = list(rows.classes), list(rows.labels)
    for row, index in decided.items():
        if index is not None and index != indices[row]:
            indices[row], labels[row] = index, classes.names[index]
    changed = replace(rows, classes=indices, labels=labels)
    left = [row for row in range(len(rows)) if decided.get(row, 0) is not None]
    return changed if len(left) == len(rows) else changed.take(left)


def _facts(rows: LabelledRows, decided: Mapping[int, int | None], corrections: Corrections) -> dict[str, Any]:
    changed = sum(index is not None and index != rows.classes[row] for row, index in decided.items())
    dropped = sum(index is None for index in decided.values())
    unused = f", and {plural(dropped, 'row')} dropped" if dropped else ""
    notices.emit(
        "corrections",
        f"train: {plural(changed, 'label')} corrected{unused}, as {corrections.name} says.",
        changed=changed,
        dropped=dropped,
    )
    digest = hashlib.sha256(corrections.content).hexdigest()
    return {"file": corrections.name, "sha256": digest, "changed": changed, "dropped": dropped}


def _edited(line: Correction, label: str) -> Problem:
    remedy = f"Leave '{LABEL}' as it was, and write the right label into '{CORRECTED}'."
    return Problem(line.where, f"'{label}' in column '{LABEL}', as in the data", f"'{line.label}'", remedy)


def _unmatched(line: Correction) -> Problem:
    return Problem(
        line.where,
        "the id and the sha256 of a training text",
        f"no such text (id '{line.id}')",
        "The training texts have changed since the file was written: delete the line, or write the file again.",
    )


def _more(problems: Sequence[Problem]) -> list[Problem]:
    more = len(problems) - LINES
    return [Problem(f"{more:,} more lines", "the same", "similar problems")] if more > 0 else []


def _text(value: Any) -> str:
    """Return a cell as text; an empty string for an empty cell."""
    return "" if value is None or value != value else label_text(value) or ""
