"""Copies the first sheet of a spreadsheet into the cache as lines of JSON, by a process of its own."""

from __future__ import annotations

import json
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

OLE = b"\xd0\xcf\x11\xe0"  # beginning of .xls files
ROWS = "rows.jsonl"
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
    target = cache_root() / "sheets" / f"{sha256_of(file)[:32]}-{file.stem}"
    facts = store.cached_folder(target, lambda folder: _copied(file, folder / ROWS))["facts"]
    if facts["others"]:
        names = ", ".join(repr(name) for name in facts["others"][:10])
        notices.emit(
            "sheet",
            f"{file.name}: sheet {facts['sheet']!r} is read; not used: {names}.",
            sheet=facts["sheet"],
        )
    return target / ROWS


def _copied(file: Path, rows: Path) -> dict[str, Any]:
    """Write the rows; return the name of the sheet, and of the others."""
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
        errors = [line.partition("CalamineError: ")[2] for line in done.stderr.splitlines()]
        raise _unreadable(file, next(filter(None, errors), TOO_LARGE))
    facts: dict[str, Any] = json.loads(done.stdout)
    if facts["sheet"] is None:
        raise BadInput(Problem(str(file), "a visible sheet with values", "none", "Name another file."))
    return facts


def _unreadable(file: Path, found: str) -> BadInput:
    return BadInput(
        Problem(str(file), "a readable spreadsheet", found[:200], "Save the sheet as csv (utf-8).")
    )
