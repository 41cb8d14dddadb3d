"""The first sheet of a spreadsheet is read by its rows; a file that would end the reading process is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from submillion import notices
from submillion.data.readers import iter_texts, read_rows
from submillion.errors import BadInput
from submillion.sources import sheet_process, spreadsheet

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


def test_a_sheet_without_a_header_is_read_from_its_first_row(tmp_path: Path) -> None:
    texts = ["See you at five", "Win money now", "Ok", "On my way"]
    cells: dict[str, str | float | bool] = {}
    for row, (text, label) in enumerate(zip(texts, ["ham", "spam", "ham", "ham"], strict=True), start=1):
        cells |= {f"A{row}": label, f"B{row}": text}
    rows = read_rows([write_xlsx(tmp_path / "data.xlsx", Sheet=cells)])
    assert (list(rows.texts), rows.labels) == (texts, ["ham", "spam", "ham", "ham"])
    assert rows.where(0) == "data.xlsx, row 1"


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


def changed(path: Path, part: str, old: str, new: str) -> Path:
    """Replace a text in a part of a workbook."""
    with zipfile.ZipFile(path) as packed:
        parts = {name: packed.read(name).decode() for name in packed.namelist()}
    assert old in parts[part]
    parts[part] = parts[part].replace(old, new)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    return path


def test_a_hidden_sheet_is_not_read_and_named(tmp_path: Path) -> None:
    path = write_xlsx(
        tmp_path / "data.xlsx", Data={"A1": "text", "A2": "hidden"}, Other={"A1": "text", "A2": "seen"}
    )
    changed(path, "xl/workbook.xml", '<sheet name="Data"', '<sheet state="hidden" name="Data"')
    assert [texts for _, texts in iter_texts(path)] == [["seen"]]
    assert "sheet 'Other' is read; not used: 'Data' (hidden)." in notices.collected()[0]["text"]


def test_merged_cells_are_named(tmp_path: Path) -> None:
    cells: dict[str, str | float | bool] = {"A1": "text", "A2": "one", "A3": "two", "B1": "title", "B2": "x"}
    path = write_xlsx(tmp_path / "data.xlsx", Sheet=cells)
    ranges = '<mergeCells count="2"><mergeCell ref="B2:B3"/><mergeCell ref="B1:C1"/></mergeCells>'
    changed(path, "xl/worksheets/sheet1.xml", "</sheetData>", f"</sheetData>{ranges}")
    assert [texts for _, texts in iter_texts(path, text="text")] == [["one", "two"]]
    expected = "data.xlsx: 1 merged cell of several rows; only the first of these rows has the value."
    assert [notice["text"] for notice in notices.collected() if notice["code"] == "merged_cells"] == [
        expected
    ]


def test_whole_numbers_have_no_decimals_and_rounded_ones_are_named(tmp_path: Path) -> None:
    cells: dict[str, str | float | bool] = {
        "A1": "id",
        "B1": "text",
        "A2": 1234567890123456,
        "B2": "exact",
        "A3": 123456789012345678,
        "B3": "rounded",
    }
    ((ids, _),) = iter_texts(write_xlsx(tmp_path / "data.xlsx", Sheet=cells))
    assert ids[0] == "1234567890123456"
    (notice,) = [notice for notice in notices.collected() if notice["code"] == "rounded_numbers"]
    assert "data.xlsx: 1 row with whole numbers of 16 digits or more" in notice["text"]
    assert "row 3 is the first" in notice["text"]


def test_the_errors_of_the_reader_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library has an error of its own for a password, with another name than that for a broken file."""
    script = tmp_path / "process.py"
    script.write_text("import python_calamine\nraise python_calamine.PasswordError('password protected')\n")
    monkeypatch.setattr(sheet_process, "__file__", str(script))
    with pytest.raises(BadInput, match="expected a readable spreadsheet, found password protected"):
        read_rows([write_xlsx(tmp_path / "data.xlsx", Sheet={"A1": "text", "A2": "x"})])


def test_rows_above_the_header_are_left_out(tmp_path: Path) -> None:
    cells: dict[str, str | float | bool] = {"A1": "Reviews of May", "A3": "text", "B3": "label"}
    cells |= {f"A{row}": f"text {row}" for row in (4, 5)} | {"B4": "good", "B5": "bad"}
    rows = read_rows([write_xlsx(tmp_path / "reviews.xlsx", Sheet=cells)])
    assert (list(rows.texts), rows.labels, list(rows.places)) == (
        ["text 4", "text 5"],
        ["good", "bad"],
        [4, 5],
    )
    assert "reviews.xlsx: 2 rows above the header are ignored." in [n["text"] for n in notices.collected()]


def test_a_row_of_merged_cells_above_the_header_is_left_out(tmp_path: Path) -> None:
    cells: dict[str, str | float | bool] = {
        "A1": "Customer",
        "C1": "Meta",
        "A2": "text",
        "B2": "label",
        "C2": "stars",
    }
    for row in range(3, 9):
        cells |= {f"A{row}": f"text {row}", f"B{row}": "ab"[row % 2], f"C{row}": row}
    rows = read_rows([write_xlsx(tmp_path / "reviews.xlsx", Sheet=cells)])
    assert list(rows.texts) == [f"text {row}" for row in range(3, 9)] and rows.labels == [*"bababa"]
    assert "reviews.xlsx: 1 row above the header is ignored." in [n["text"] for n in notices.collected()]
