"""The folder of an export: its record, read and checked, and the files that belong to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from submillion.errors import BadInput, Problem
from submillion.files import strict_json
from submillion.report.export_card import CARD
from submillion.report.export_figure import NAME
from submillion.run_format.export import EXPORT, FORMAT_VERSION, ExportRecord
from submillion.run_format.typed import check
from submillion.ship.export.web import files as web

AGAIN = "Export the run again."
PAGE_SETTINGS = f"{web.FOLDER}/{web.SETTINGS}"
"""What the page for browsers reads beside its graph."""
REPORT = (CARD, f"{NAME}.svg", f"{NAME}.png")
"""The files that are written from export.json."""


def read_record(folder: Path) -> ExportRecord:
    """Return the record of an export.

    Raises:
        BadInput: it cannot be read, or another version wrote it in another format.
    """
    where = str(folder / EXPORT)
    record: dict[str, Any] = strict_json.read(folder / EXPORT, "the record of an export", AGAIN)
    if not isinstance(record, dict) or (found := record.get("format_version")) != FORMAT_VERSION:
        found = found if isinstance(record, dict) else "another value"
        raise BadInput(Problem(where, f"an export of format {FORMAT_VERSION}", f"format {found}", AGAIN))
    check(record, ExportRecord, where, AGAIN)
    return cast(ExportRecord, record)


def recorded_hashes(record: ExportRecord) -> dict[str, str]:
    """Return the SHA-256 of every file that an export's record names, by its path in the folder."""
    hashes = dict(record["common"])
    for name, entry in record["files"].items():
        hashes |= {name: entry["sha256"], **entry["parts"]}
    return hashes


def files_of(folder: Path) -> set[str] | None:
    """Return the paths of the files that an export of any version has written; None if the folder is no export."""
    try:
        record: Any = strict_json.read(folder / EXPORT, "the record of an export", AGAIN)
        if "submillion" not in record or "format_version" not in record:
            return None
        entries = record["files"]
        parts = [name for entry in entries.values() for name in entry["parts"]]
        return {EXPORT, *REPORT, *record["common"], *entries, *parts}
    except (BadInput, AttributeError, KeyError, TypeError):  # another program's JSON
        return None
