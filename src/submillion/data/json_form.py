"""Rows of JSON files: one object per line, or one list of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from submillion.data.table import Malformed, RowStream, Table, unreadable
from submillion.errors import BadInput, Problem
from submillion.sources.records import decoded_lines


def json_lines(path: Path) -> Table:
    """Open a file with one JSON object per line; its columns are those of the first one."""

    def rows(wanted: Sequence[str]) -> RowStream:
        for number, value in _objects(path):
            yield number, _picked(value, wanted)

    first = next(_objects(path), None)
    return Table(path, _columns(path, first[1] if first else None), rows)


def json_file(path: Path) -> Table:
    """Open a .json file: one object per line, or a list of objects, which is loaded whole."""
    if _is_object_per_line(next((line for line in decoded_lines(path) if line.strip()), "")):
        return json_lines(path)
    try:
        values = json.loads("".join(decoded_lines(path)))
    except (ValueError, RecursionError) as error:
        raise unreadable(path, "JSON", error) from error
    if isinstance(values, dict):
        # {"data": [...]} and {"version": 1, "data": [...]} are common wrappings of such a list.
        lists = [value for value in values.values() if isinstance(value, list)]
        values = lists[0] if len(lists) == 1 else values
    if not isinstance(values, list):
        raise BadInput(Problem(str(path), "a list of objects, or one object per line", "one object"))

    def rows(wanted: Sequence[str]) -> RowStream:
        for number, value in enumerate(values, start=1):
            yield number, _picked(value, wanted)

    return Table(path, _columns(path, values[0] if values else None), rows, unit="entry")


def _is_object_per_line(first_line: str) -> bool:
    """Return whether the first line is a whole object, and not one that wraps a list of objects."""
    try:
        value = json.loads(first_line)
    except ValueError:
        return False
    return isinstance(value, dict) and not any(isinstance(part, list) for part in value.values())


def _objects(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(decoded_lines(path), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(
                Problem(
                    f"{path}, line {number}", "one JSON object per line", f"a line that is not JSON ({error})"
                )
            ) from error


def _picked(value: Any, wanted: Sequence[str]) -> list[Any] | Malformed:
    if not isinstance(value, dict):
        return Malformed(f"{type(value).__name__} instead of an object")
    missing = [name for name in wanted if name not in value]
    return Malformed(f"no '{missing[0]}'") if missing else [value[name] for name in wanted]


def _columns(path: Path, first: Any) -> list[str]:
    if first is None:
        return []
    if not isinstance(first, dict):
        raise BadInput(
            Problem(
                str(path),
                'objects such as {"text": ..., "label": ...}',
                f"{type(first).__name__} as the first entry",
            )
        )
    return [str(name) for name in first]
