"""Chooses the text, label and id columns of a file, by the names requested or by the usual names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from submillion import notices
from submillion.data.column_values import have_several_words, look_like_labels, sampled_values
from submillion.data.row_problems import NoLabels
from submillion.data.table import ID, Table
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.wording import listed

TEXT_NAMES = (
    "text",
    "sentence",
    "content",
    "document",
    "review",
    "comment",
    "message",
    "tweet",
    "question",
    "body",
    "headline",
    "title",
    "description",
)
# If a file has both columns of a pair, the text is both, joined.
TEXT_PAIRS = (("title", "description"), ("title", "content"), ("title", "body"))
LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "category",
    "class index",
    "topic",
    "target",
    "sentiment",
    "intent",
)
RENAME = "Each line of such a file is one text. If it has columns, rename it to .csv or .tsv."
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
BRACKETS = re.compile(r"\(.*\)|\[.*\]")
MOST_WORDS = 4  # of a column's name; more are probably a text
MOST_WORDS_ALONE = 2  # of the name of a file's only column: its first line may as well be a text
LISTED = 20  # columns listed in one message
COMPARED = 1000  # columns whose names are compared with a misspelt one


@dataclass(frozen=True)
class Columns:
    """The chosen columns of one file."""

    text: list[str]
    """Columns whose values, joined with a space, are the text."""
    label: str | None
    """Label column; None if labels are not wanted."""
    id: str | None
    """Column of the rows' own ids, if any."""


def choose_columns(
    table: Table,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    labelled: bool = True,
    own_id: str | None = None,
) -> Columns:
    """Choose a file's columns; those found by their usual names are reported in notices.

    Args:
        table: the opened file.
        text: text column, or several; None finds it.
        label: label column; None finds it.
        labelled: whether labels are wanted.
        own_id: column of the ids; None takes `id`, if there is one.

    Raises:
        BadInput: a requested column does not exist, no column has a usual name, a name occurs twice (the file's columns
            are listed), or the label column is one of the text columns.
    """
    requested = [text] if isinstance(text, str) else list(text or [])
    texts = requested or ([table.text] if table.text else _usual_text(table))
    labels = (label or table.label or _usual(table, LABEL_NAMES)) if labelled else None
    if labelled and texts and _lacks(table, labels) and all(name in table.columns for name in texts):
        raise NoLabels(_no_column(table, label, "label", LABEL_NAMES))
    row_id = own_id or _by_usual_name(table).get(ID)
    wrong = [
        _wrong(table, name, kind)
        for kind, names in (("text", texts), ("label", [labels]), ("id", [row_id]))
        for name in names
        if name and table.columns.count(name) != 1
    ]
    if wrong:
        raise BadInput(wrong)
    if not texts:
        raise BadInput(_no_column(table, None, "text", TEXT_NAMES))
    if labels in texts:
        found = f"{_named(texts)}, with '{labels}' as the label column"
        remedy = "Name others with @{data.text} and @{data.label}."
        raise BadInput(Problem(str(table.path), "a text without its label", found, remedy))
    if not requested and table.columns != ["text"]:
        notices.emit("text_column", f"{table.path.name}: texts are read from {_named(texts)}.")
    if labels and not (label or table.label):
        _announce_label(table, labels)
    return Columns(texts, labels, None if row_id in texts and not own_id else row_id)


def names_label(table: Table) -> bool:
    """Return whether a file's form, or the usual name of one of its columns, says which column has the labels."""
    return bool(table.label or _usual(table, LABEL_NAMES))


def is_usual_name(column: str) -> bool:
    """Return whether a column of this name is found without being asked for."""
    return column.lower() in (*TEXT_NAMES, *LABEL_NAMES)


def check_columns(table: Table, names: Sequence[str], field: str) -> None:
    """Check that a file has some columns.

    Args:
        table: the opened file.
        names: columns that are required, each exactly once.
        field: the recipe field that names them.

    Raises:
        BadInput: a column does not exist, or exists several times.
    """
    if wrong := [_wrong(table, name, field) for name in names if table.columns.count(name) != 1]:
        raise BadInput(wrong)


def _announce_label(table: Table, label: str) -> None:
    """Report a label column that was found by its name, unless it is `label` and no other may have the labels."""
    others = [repr(name) for name in table.columns if name != label and name.lower() in LABEL_NAMES]
    if label.lower() == LABEL_NAMES[0] and not others:
        return
    unused = f"; not used: {listed(others)}. Name another with data.label" if others else ""
    notices.emit("label_column", f"{table.path.name}: labels are read from column '{label}'{unused}.")


def _lacks(table: Table, name: str | None) -> bool:
    return name is None or name not in table.columns


def _no_column(table: Table, requested: str | None, kind: str, names: Sequence[str]) -> Problem:
    if requested:
        return _wrong(table, requested, kind)
    remedy = f"Name it with {_field(table, kind)}."
    if _may_lack_header(table):
        unit = table.unit
        remedy = (
            f"If the first {unit} is a text, add a {unit} '{names[0]}' above it; if it is a header, name the column "
            f"with {_field(table, kind)}."
        )
    elif table.has_header:
        remedy += f" (Is the first {table.unit} a header?)"
    return Problem(
        str(table.path),
        f"a {kind} column ({', '.join(names)})",
        _listed(table),
        RENAME if table.is_plain else remedy,
    )


def _field(table: Table, kind: str) -> str:
    """Return how to name a column: with its name, if it is the only one that may be meant, if need be by its values."""
    others = [name for name in table.columns if not is_usual_name(name) and name.lower() != ID]
    if 1 < len(others) <= LISTED and len(set(table.columns)) == len(table.columns):
        values = sampled_values(table, others)
        alike = look_like_labels if kind == "label" else have_several_words
        others = [name for name, column in zip(others, values, strict=True) if alike(column)]
    alone = len(others) == 1 and re.fullmatch(r"\w+", others[0])
    return f"@{{data.{kind}={others[0]}}}" if alone else f"@{{data.{kind}}}"


def _usual_text(table: Table) -> list[str]:
    names = _by_usual_name(table)
    if TEXT_NAMES[0] not in names:
        for pair in TEXT_PAIRS:
            if all(part in names for part in pair):
                return [names[part] for part in pair]
    name = _usual(table, TEXT_NAMES)
    return [name] if name else []


def _usual(table: Table, usual: Sequence[str]) -> str | None:
    """Return the column with a usual name, else the only one whose last word is a usual name: `Review Text`.

    Those of objects inside a row, `item.text`, count only if no other column has such a name.
    """
    names = _by_usual_name(table)
    found = next((names[name] for name in usual if name in names), None)
    if found is None and not _may_lack_header(table):
        ending = [name for name in table.columns if _last_word(name) in usual]
        ending = [name for name in ending if name not in table.nested] or ending
        found = ending[0] if len(ending) == 1 else None
    return found


def _may_lack_header(table: Table) -> bool:
    """Return whether the first line of a file of one column, taken as its header, has the words of a text."""
    return (
        table.has_header
        and len(table.columns) == 1
        and len(BRACKETS.sub("", table.columns[0]).split()) > MOST_WORDS_ALONE
    )


def _last_word(column: str) -> str:
    """Return the last word of a column's name in lower case: text for `reviewText`, `comment_text` or `Text (en)`."""
    words = WORD.findall(BRACKETS.sub("", column))
    return words[-1].lower() if 1 <= len(words) <= MOST_WORDS else ""


def _by_usual_name(table: Table) -> dict[str, str]:
    """Return the columns by their lower-case names: of several, the one that is spelled so, else the first."""
    first: dict[str, str] = {}
    for name in table.columns:
        first.setdefault(name.lower(), name)
    return first | {name: name for name in table.columns if name.lower() == name}


def _wrong(table: Table, name: str, kind: str) -> Problem:
    if name in table.columns:
        return Problem(
            str(table.path),
            f"one {kind} column '{name}'",
            f"{table.columns.count(name)} of that name",
            "Rename or remove the others.",
        )
    return Problem(
        str(table.path),
        f"{'an' if kind == 'id' else 'a'} {kind} column '{name}'",
        _listed(table),
        did_you_mean(name, table.columns[:COMPARED]),
    )


def _listed(table: Table) -> str:
    if not table.columns:
        return "no rows"
    names = [name if len(name) <= 40 else f"{name[:37]}..." for name in table.columns[:LISTED]]
    more = len(table.columns) - len(names)
    return f"the columns {', '.join(repr(name) for name in names)}" + (f" and {more} more" if more else "")


def _named(names: Sequence[str]) -> str:
    quoted = " and ".join(f"'{name}'" for name in names)
    return f"column {quoted}" if len(names) == 1 else f"columns {quoted}, joined with a space"
