"""The first sheet of a spreadsheet is read by its rows; a file that would end the reading process is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from submillion import notices
from submillion.data.readers import iter_texts, read_rows
from submillion.errors import BadInput
from submillion.sources import spreadsheet

pytest.importorskip("python_calamine")

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def cell(name: str, value: str | float | bool) -> str:
    if isinstance(value, bool):
        return f'<c r="{name}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, str):
        return f'<c r="{name}" t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'
    return f'<c r="{name}"><v>{value}</v></c>'


def write_xlsx(path: Path, **sheets: dict[str, str | float | bool]) -> Path:
    """Write a workbook; each sheet is given by its cells, such as {"A1": "text"}."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        entries = "".join(
            f'<sheet name="{name}" sheetId="{number}" r:id="rId{number}"/>'
            for number, name in enumerate(sheets, start=1)
        )
        links = "".join(
            f'<Relationship Id="rId{number}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{number}.xml"/>'
            for number in range(1, len(sheets) + 1)
        )
        packed.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets>{entries}</sheets></workbook>',
        )
        package = "http://schemas.openxmlformats.org/package/2006/relationships"
        packed.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}"><Relationship Id="rId1" Type="{RELATIONS}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        packed.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}">{links}</Relationships>'
        )
        for number, cells in enumerate(sheets.values(), start=1):
            rows: dict[str, list[str]] = {}
            for name, value in cells.items():
                rows.setdefault(name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), []).append(cell(name, value))
            data = "".join(f'<row r="{row}">{"".join(row_cells)}</row>' for row, row_cells in rows.items())
            packed.writestr(
                f"xl/worksheets/sheet{number}.xml",
                f'<worksheet xmlns="{MAIN}"><sheetData>{data}</sheetData></worksheet>',
            )
    return path


def test_the_first_sheet_with_values_is_read(tmp_path: Path, own_cache: Path) -> None:
    cells: dict[str, str | float | bool] = {
        "A2": "text",
        "B2": "label",
        "A3": "two\nlines",
        "B3": 1,
        "A4": 2.5,
        "B4": 0,
    }
    path = write_xlsx(tmp_path / "data.xlsx", Empty={}, Daten=cells, Notes={"A1": "hello"})
    rows = read_rows([path])
    assert list(rows.texts) == ["two\nlines", "2.5"] and rows.labels == ["1", "0"]
    assert rows.examples([0, 1]) == ["data.xlsx, row 3", "data.xlsx, row 4"]
    assert "sheet 'Daten' is read; not used: 'Empty', 'Notes'." in notices.collected()[0]["text"]
    assert [texts for _, texts in iter_texts(path)] == [["two\nlines", "2.5"]]
    assert len(list((own_cache / "sheets").glob("*-data"))) == 1  # read once by the library


def test_a_spreadsheet_is_known_by_its_content(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "data.csv", Sheet={"A1": "text", "B1": "label", "A2": "x", "B2": True})
    assert read_rows([path]).labels == ["true"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        # Two cells at opposite corners: 17 billion cells, at which the library ends its process.
        (
            {"A1": "text", "B1": "label", "XFD1048576": "x"},
            "a readable spreadsheet, found one that its reader could not",
        ),
        ({}, "a visible sheet with values, found none"),
    ],
)
def test_sheets_that_cannot_be_read_are_refused(
    tmp_path: Path, cells: dict[str, str | float | bool], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        read_rows([write_xlsx(tmp_path / "data.xlsx", Sheet=cells)])


def test_damaged_and_foreign_spreadsheets_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 600)
    with pytest.raises(BadInput, match=r"old\.xls: expected a readable spreadsheet, found"):
        read_rows([tmp_path / "old.xls"])
    path = write_xlsx(tmp_path / "data.xlsx", Sheet={"A1": "text", "A2": "x" * 5000})
    monkeypatch.setattr(spreadsheet, "LEAST", 100)
    monkeypatch.setattr(spreadsheet, "EXPANSION", 1)
    with pytest.raises(BadInput, match="found one whose content has .* bytes"):
        list(iter_texts(path))
    monkeypatch.setattr(spreadsheet, "find_spec", lambda name: None)
    with pytest.raises(
        BadInput, match=r'Install it with: pip install "submillion\[spreadsheet\]", or save the sheet'
    ):
        list(iter_texts(path))
