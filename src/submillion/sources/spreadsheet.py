"""Copies the first sheet of a spreadsheet into the cache as lines of JSON, by a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.cache import cache_root, sha256_of
from submillion.errors import BadInput, Problem
from submillion.sources import sheet_process, store
from submillion.sources.archive import FAILURES, content_size, is_spreadsheet
from submillion.wording import plural

OLE = b"\xd0\xcf\x11\xe0"  # beginning of .xls files
ROWS = "rows.jsonl"
FORM = 2
"""Number of the form of the copies in the cache; earlier ones are not read."""
ERROR = re.compile(r"python_calamine\.\w+: (.+)")
"""The last line of the traceback of the library's errors."""
MEMORY = 1500 << 20  # bytes of address space of the process that reads a small spreadsheet
MEMORY_PER_BYTE = 40  # further ones for every byte of the spreadsheet's content
EXPANSION = 30  # times the size of a spreadsheet that its content may have
LEAST = 16 << 20  # bytes that the content of every spreadsheet may have
SECONDS = 600
TOO_LARGE = (
    "one that its reader could not hold in memory (a value far away from the others makes a sheet huge)"
)


def has_sheets(file: Path, beginning: bytes) -> bool:
    """Return whether a file is a spreadsheet, by its content; `beginning` is its first bytes."""
    return beginning.startswith(OLE) or (beginning.startswith(b"PK") and is_spreadsheet(file))


def sheet_rows(file: Path) -> Path:
    """Return the first visible sheet with values as a file of JSON: line N is the list of the texts of row N.

    A process of its own reads the spreadsheet, because the library can be made to end its process by a file of a few
    kilobytes, with two cells at opposite corners of the sheet.

    Args:
        file: xlsx, xlsm, xlsb, xls or ods.

    Raises:
        BadInput: the extra `spreadsheet` is not installed, or the file cannot be read or has no values.
        SubmillionError: the cache cannot be written.
    """
    if find_spec("python_calamine") is None:
        raise BadInput(
            Problem(
                str(file),
                "the package python-calamine, which reads spreadsheets",
                "none",
                'Install it with: pip install "submillion[spreadsheet]", or save the sheet as csv (utf-8).',
            )
        )
    target = cache_root() / "sheets" / f"{FORM}-{sha256_of(file)[:32]}-{file.stem}"
    _announce(file, store.cached_folder(target, lambda folder: _copied(file, folder / ROWS))["facts"])
    return target / ROWS


def _announce(file: Path, facts: dict[str, Any]) -> None:
    """Say which sheet is read, and which values are not what the file shows."""
    others = [*map(repr, facts["others"]), *(f"{name!r} (hidden)" for name in facts["hidden"])]
    if others:
        text = f"{file.name}: sheet {facts['sheet']!r} is read; not used: {', '.join(others[:10])}."
        notices.emit("sheet", text, sheet=facts["sheet"])
    if merged := facts["merged"]:
        notices.emit(
            "merged_cells",
            f"{file.name}: {plural(merged, 'merged cell')} of several rows; only the first of these rows has the "
            "value.",
            cells=merged,
        )
    if rounded := facts["rounded"]:
        notices.emit(
            "rounded_numbers",
            f"{file.name}: {plural(len(rounded), 'row')} with whole numbers of 16 digits or more, whose last digits "
            f"may be lost; row {rounded[0]} is the first. Store ids as text.",
            rows=len(rounded),
        )


def _copied(file: Path, rows: Path) -> dict[str, Any]:
    """Write the rows; return the name of the sheet and of the others, and what is lost in its cells."""
    size = file.stat().st_size
    try:
        content = content_size(file) if zipfile.is_zipfile(file) else size
    except FAILURES as error:
        raise _unreadable(file, str(error)) from error
    if content > max(LEAST, EXPANSION * size):
        raise _unreadable(file, f"one whose content has {content:,} bytes")
    memory = MEMORY + MEMORY_PER_BYTE * max(0, size - LEAST)
    command = [sys.executable, "-I", str(Path(sheet_process.__file__)), str(file), str(rows), str(memory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _unreadable(file, f"one that takes more than {SECONDS} seconds") from error
    if done.returncode:
        errors = [found[1] for line in done.stderr.splitlines() if (found := ERROR.match(line))]
        raise _unreadable(file, next(iter(errors), TOO_LARGE))
    facts: dict[str, Any] = json.loads(done.stdout)
    if facts["sheet"] is None:
        raise BadInput(Problem(str(file), "a visible sheet with values", "none", "Name another file."))
    return facts


def _unreadable(file: Path, found: str) -> BadInput:
    return BadInput(
        Problem(str(file), "a readable spreadsheet", found[:200], "Save the sheet as csv (utf-8).")
    )
