"""Writes the first sheet of a spreadsheet as lines of JSON; run as a script, in a process with bounded memory."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, time
from typing import Any


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
    names = [
        sheet.name
        for sheet in workbook.sheets_metadata
        if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
    ]
    for name in names:
        sheet = workbook.get_sheet_by_name(name)
        if sheet.start is None:
            continue
        with open(target, "w", encoding="utf-8") as out:  # noqa: PTH123  # a script without other imports
            for row in sheet.iter_rows():
                out.write(json.dumps([text_of(cell) for cell in row]) + "\n")
        print(json.dumps({"sheet": name, "others": [other for other in names if other != name]}))
        return
    print(json.dumps({"sheet": None, "others": names}))


def text_of(cell: Any) -> str:
    """Return a cell as a spreadsheet shows it: whole numbers without decimals, dates in ISO 8601."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, date | datetime | time):
        return cell.isoformat()
    return "" if cell is None else str(cell)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
