"""Writes the first sheet of a spreadsheet as lines of JSON; run as a script, in a process with bounded memory."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, time
from typing import Any

EXACT = 2**53
"""Whole numbers below it are exact as floats."""


def main(source: str, target: str, memory: int) -> None:
    """Write the first visible sheet that has values, one list of texts per row; print facts about it as JSON.

    Args:
        source: the spreadsheet.
        target: file to write; line N is row N of the sheet.
        memory: bytes of address space that this process may use: a few cells far apart make a huge table.
    """
    try:
        import resource  # noqa: PLC0415
    except ImportError:
        pass  # Windows has no such limit
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum  # noqa: PLC0415  # after the limit

    workbook = CalamineWorkbook.from_path(source)
    sheets = [sheet for sheet in workbook.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
    visible = [sheet.name for sheet in sheets if sheet.visible == SheetVisibleEnum.Visible]
    facts: dict[str, Any] = {
        "sheet": None,
        "others": visible,
        "hidden": [sheet.name for sheet in sheets if sheet.visible != SheetVisibleEnum.Visible],
    }
    for name in visible:
        sheet = workbook.get_sheet_by_name(name)
        if sheet.start is None:
            continue
        facts |= {"sheet": name, "others": [other for other in visible if other != name]}
        facts["merged"] = sum(end[0] > start[0] for start, end in sheet.merged_cell_ranges or [])
        facts["rounded"] = rounded = []  # rows
        with open(target, "w", encoding="utf-8") as out:  # noqa: PTH123  # a script without other imports
            for number, row in enumerate(sheet.iter_rows(), start=1):
                out.write(json.dumps([text_of(cell) for cell in row]) + "\n")
                if any(map(is_rounded, row)):
                    rounded.append(number)
        break
    print(json.dumps(facts))


def is_rounded(cell: Any) -> bool:
    """Return whether a cell is a whole number that may have lost digits: the library holds numbers as floats."""
    return isinstance(cell, float) and cell.is_integer() and abs(cell) >= EXACT


def text_of(cell: Any) -> str:
    """Return a cell's value as text: whole numbers without decimals, dates in ISO 8601; an error is empty."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < EXACT:
        return str(int(cell))
    if isinstance(cell, date | datetime | time):
        return cell.isoformat()
    return "" if cell is None else str(cell)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
