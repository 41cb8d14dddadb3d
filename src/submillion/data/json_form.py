"""Rows of JSON files: one object per line, one list of objects, or a table by columns as pandas writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from submillion.data import annotation
from submillion.data.chat_form import chat_of, is_chat
from submillion.data.columns import is_usual_name
from submillion.data.table import ID, Malformed, RowStream, Table
from submillion.errors import BadInput, Problem
from submillion.files.strict_json import Refused, unique
from submillion.sources.records import decoded_lines

FORMS = 'objects such as {"text": ..., "label": ...}: one per line, or in one list'
SHOWN = 100  # entries that show the form of a file
MOST_NESTED = 50  # values of an object inside rows that are offered as columns; of more, none is
SCALARS = (str, int, float, bool, type(None))
# Of a label that is there twice, no one knows which is right.
_DECODER = json.JSONDecoder(object_pairs_hook=unique)


def json_file(path: Path, encoding: str | None = None) -> Table:
    """Open a file of JSON, whatever its suffix: one object per line, or one document, which is loaded whole.

    A document is a list of objects, or an object that wraps one, or a table by columns: `{"text": [...], ...}`,
    `{"text": {"0": ...}, ...}` or `{"columns": [...], "data": [[...]]}`.

    Raises:
        BadInput: it is not JSON, or neither of these.
    """
    lines = [line for _, line in islice(_lines(path, encoding), 2)]
    if not lines or _is_lines(lines):
        objects = partial(_objects, path, encoding)
        return _table(path, objects, "line")
    try:
        document = _DECODER.decode("".join(decoded_lines(path, encoding)))
        if isinstance(document, dict) and isinstance(columns := document.get("columns"), list):
            unique([(str(name), None) for name in columns])
        entries = _entries(document)
    except (ValueError, RecursionError) as error:
        raise BadInput(_not_json(path, error)) from error
    if entries is None:
        raise BadInput(Problem(str(path), FORMS, _described(document)))
    return _table(path, lambda: enumerate(entries, start=1), "entry")


def _table(path: Path, objects: Any, unit: str) -> Table:
    beginning = [value for _, value in islice(objects(), SHOWN)]
    export = chat_of(beginning) or annotation.export_of(beginning)
    flat = [export.flat(value) for value in beginning]
    readable = [value for value in flat if not isinstance(value, Malformed)]
    columns = _columns(path, readable) if readable else [name for name in (export.text, export.label) if name]
    nested = _nested(readable, columns, export.label)

    def rows(wanted: Sequence[str]) -> RowStream:
        for number, value in objects():
            yield number, _picked(export.flat(value), wanted)

    return export.table(Table(path, [*columns, *nested], rows, unit=unit, nested=frozenset(nested)))


def _is_lines(lines: Sequence[str]) -> bool:
    """Return whether a file that begins with these lines, not empty ones, has one object per line."""
    if not lines[0].lstrip().startswith("{"):
        return False
    try:
        first = json.loads(lines[0])
    except (ValueError, RecursionError):
        # A document over several lines, or a broken line of many: then the next one begins like it.
        return len(lines) > 1 and not lines[0][:1].isspace() and lines[1].startswith("{")
    return len(lines) > 1 or _entries(first) is None or _is_flat(first.values())


def _lines(path: Path, encoding: str | None) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(decoded_lines(path, encoding), start=1):
        if line.strip():
            yield number, line


def _objects(path: Path, encoding: str | None) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(path, encoding):
        try:
            yield number, _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(
                Problem(f"{path}, line {number}", "one JSON object per line", _flaw_of_json(error, "a line"))
            ) from error


def _not_json(path: Path, error: Exception) -> Problem:
    remedy = "If it has one object after the other, write each into one line: jq -c . FILE > NEW.jsonl."
    several = isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"
    return Problem(str(path), "a readable JSON file", _flaw_of_json(error, "one"), remedy if several else "")


def _flaw_of_json(error: Exception, noun: str) -> str:
    if isinstance(error, RecursionError):
        return f"{noun} with lists or objects nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{noun} that is not JSON ({error})"
    if isinstance(error, Refused):
        return f"{noun} with {error.found}"
    return f"{noun} with an integer of thousands of digits"  # which Python refuses to convert


def _entries(document: Any) -> Sequence[Any] | None:
    """Return the rows of a document, None if it has none of the known forms."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict) or not document or is_chat(document):
        return None
    values = list(document.values())
    columns, data = document.get("columns"), document.get("data")
    if isinstance(columns, list) and isinstance(data, list):  # pandas, orient="split"
        return [_row(columns, row) for row in data]
    if (wrapped := _wrapped(document)) is not None:
        return wrapped
    if all(isinstance(value, list) for value in values) and (len(values) > 1 or _is_flat(values[0])):
        return _by_columns(document)
    if all(isinstance(value, dict) and _is_flat(value.values()) for value in values):
        return _by_index(document)
    return _of_a_server(document)


def _wrapped(document: dict[str, Any]) -> list[Any] | None:
    """Return the rows of `{"data": [...]}`, also beside other values and empty lists, and of pandas' orient="table"."""
    lists = [value for value in document.values() if isinstance(value, list)]
    filled = [value for value in lists if value] or lists[:1]
    # A row may have one list as well; with several it is more probably a row than an answer.
    if len(filled) != 1 or annotation.is_task(document):
        return None
    if len(lists) > 1 and any(map(is_usual_name, document)):
        return None
    first = filled[0][0] if filled[0] else {}
    return filled[0] if isinstance(first, dict) or annotation.is_pair(first) else None


def _of_a_server(document: dict[str, Any]) -> Sequence[Any] | None:
    """Return the rows of a server's answer: `{"status": "ok", "data": {"total": 2, "items": [...]}}`."""
    wrapped = [value for value in document.values() if isinstance(value, dict)]
    others = [value for value in document.values() if not isinstance(value, dict)]
    if len(wrapped) != 1 or not _is_flat(others) or any(map(is_usual_name, document)):
        return None
    lists = [value for value in wrapped[0].values() if isinstance(value, list) and value]
    return lists[0] if len(lists) == 1 and isinstance(lists[0][0], dict) else None


def _is_flat(cells: Iterable[Any]) -> bool:
    return all(isinstance(cell, SCALARS) for cell in cells)


def _row(columns: Sequence[Any], row: Any) -> Any:
    if not isinstance(row, list) or len(row) != len(columns):
        return row
    return dict(zip(map(str, columns), row, strict=True))


def _by_columns(document: dict[str, list[Any]]) -> Sequence[Any] | None:
    if len({len(values) for values in document.values()}) != 1:
        return None
    return [dict(zip(document, row, strict=True)) for row in zip(*document.values(), strict=True)]


def _by_index(document: dict[str, dict[str, Any]]) -> Sequence[Any] | None:
    """Return the rows of `{"text": {"0": ...}, "label": {"0": ...}}`, or of `{"0": {"text": ..., "label": ...}}`."""
    first = next(iter(document.values()))
    if any(value.keys() != first.keys() for value in document.values()):
        return None
    if all(key.isdecimal() for key in document) and not all(key.isdecimal() for key in first):
        return list(document.values())
    return [{name: values[key] for name, values in document.items()} for key in first]


def _described(document: Any) -> str:
    if isinstance(document, dict):
        names = ", ".join(repr(str(name)[:40]) for name in islice(document, 5))
        return f"one object with the keys {names}{' and more' if len(document) > 5 else ''}"
    return f"one {type(document).__name__}"


def _picked(value: Any, wanted: Sequence[str]) -> list[Any] | Malformed:
    """Return a row's values; a key that it lacks counts as null, except the first wanted one (the text) and the id."""
    if isinstance(value, Malformed):
        return value
    if not isinstance(value, dict):
        return Malformed(f"{type(value).__name__} instead of an object")
    missing = [name for name in wanted if name not in value and name not in annotation.MARKS]
    if not missing:
        return [value.get(name) for name in wanted]
    found = {name: part[inner] for name, part, inner in _parts(value, missing) if inner in part}
    lacking = [name for name in missing if name not in found and name in (wanted[0], ID)]
    return (
        Malformed(f"no '{lacking[0]}'") if lacking else [found.get(name, value.get(name)) for name in wanted]
    )


def _parts(value: dict[str, Any], names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield names such as `item.text` with the object that the row has under `item`, and `text`."""
    for name in names:
        outer, _, inner = name.partition(".")
        if isinstance(part := value.get(outer), dict):
            yield name, part, inner


def _nested(entries: Sequence[Any], columns: Sequence[str], label: str | None) -> list[str]:
    """Return columns such as `item.text` for the values of objects inside rows, except the scores of their classes."""
    names: dict[str, dict[str, None]] = {}
    for entry in entries:
        for name, cell in entry.items() if isinstance(entry, dict) else ():
            if isinstance(cell, dict) and "." not in name and name != label:
                inner = names.setdefault(name, {})
                inner |= dict.fromkeys(key for key, value in cell.items() if isinstance(value, SCALARS))
    return [
        f"{name}.{inner}"
        for name, found in names.items()
        if len(found) <= MOST_NESTED
        for inner in found
        if f"{name}.{inner}" not in columns
    ]


def _columns(path: Path, entries: Sequence[Any]) -> list[str]:
    """Return the keys of all entries, in the order in which they occur."""
    if not isinstance(entries[0], dict):
        raise BadInput(Problem(str(path), FORMS, f"{type(entries[0]).__name__} as the first entry"))
    return list(dict.fromkeys(name for entry in entries if isinstance(entry, dict) for name in entry))
