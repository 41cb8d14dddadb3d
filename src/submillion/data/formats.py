"""Opens a data file according to its first bytes and its suffix; other formats are rejected by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from submillion.data import arrow_form, delimited, json_form
from submillion.data.sheet_form import spreadsheet
from submillion.data.table import Table
from submillion.data.text_folder import text_folder
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.sources.addresses import remedy_for
from submillion.sources.archive import GZIP, ZIP
from submillion.sources.convert import converted
from submillion.sources.encoding import announce, further_encoding, text_form
from submillion.sources.spreadsheet import has_sheets
from submillion.sources.suffixes import ARCHIVES, FORMATS, PICKLE_MAGIC, PICKLES, SPREADSHEETS

TEXT_READERS: dict[str, Callable[[Path, str | None], Table]] = {
    "csv": delimited.comma_separated,
    "tsv": delimited.tab_separated,
    "jsonl": json_form.json_file,
    "json": json_form.json_file,
    "text": delimited.text_file,
}
READERS: dict[str, Callable[[Path], Table]] = {"parquet": arrow_form.parquet, "arrow": arrow_form.arrow}
SNIFFED = 4096  # bytes that show what a file is that has the name of a spreadsheet
ARCHIVE_MAGIC = (GZIP, ZIP)
FOREIGN = {
    b"BZh": ("a bzip2 archive", "Unpack it: bunzip2 FILE."),
    b"\xfd7zXZ": ("an xz archive", "Unpack it: unxz FILE."),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", "Unpack it: unzstd FILE."),
}


def open_table(path: str | Path, encoding: str | None = None, likely: str | None = None) -> Table:
    """Open a file of texts, labelled or not.

    Args:
        path: csv, tsv, jsonl, json, parquet, arrow, a spreadsheet or plain text lines, also in a gzip or zip archive;
            AG News' and Orange's forms are converted. Or a folder of text files.
        encoding: of a text file; None finds it.
        likely: encoding that is used instead of detecting one, if the file is not utf-8 and has no byte order mark.

    Raises:
        BadInput: no such file, an empty one, a pickle, or an unknown format.
    """
    path = Path(path)
    if path.is_dir():
        return text_folder(path, encoding, likely)
    beginning = _beginning(path)
    _refuse_foreign(path, beginning)
    if has_sheets(path, beginning):
        return spreadsheet(path)
    inside = converted(path, encoding).file
    if inside != path:  # unpacked from an archive, or converted
        beginning = _beginning(inside)
        _refuse_foreign(inside, beginning)
        if has_sheets(inside, beginning):
            return spreadsheet(inside)
        if beginning.startswith(ARCHIVE_MAGIC):
            raise BadInput(Problem(str(path), "one archive", "an archive inside an archive", "Unpack it."))
    if encoding is None:
        encoding = further_encoding(inside, likely)
    return _by_form(inside, beginning, encoding)


def _by_form(path: Path, beginning: bytes, encoding: str | None) -> Table:
    """Open a file that is neither archive nor spreadsheet."""
    if beginning.startswith(b"PAR1"):
        return arrow_form.parquet(path)
    if beginning.startswith(b"ARROW1"):
        return arrow_form.arrow(path)
    form = FORMATS.get(path.suffix.lower(), "" if path.suffix else "text")
    if path.suffix.lower() in SPREADSHEETS:
        raise BadInput(_no_spreadsheet(path))
    if not form:
        suffixes = ", ".join((*FORMATS, *SPREADSHEETS, *ARCHIVES))
        raise BadInput(Problem(str(path), f"a file whose name ends in {suffixes}", f"'{path.suffix}'"))
    if form in READERS:
        return READERS[form](path)
    announce(path, text_form(path, encoding))
    return TEXT_READERS[form](path, encoding)


def _no_spreadsheet(path: Path) -> Problem:
    """Return the problem with a file that is named like a spreadsheet: what many websites export is html or text."""
    with path.open("rb") as file:
        beginning = file.read(SNIFFED)
    suffix = path.suffix
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        beginning = beginning.decode("utf-16", "replace").encode()
    beginning = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    first = beginning.split(b"\n", 1)[0]
    if beginning.startswith(b"<"):
        found = f"html or xml named {suffix}"
        remedy = "Open it in a spreadsheet program, and save it as .xlsx or .csv."
    elif b"\0" in beginning:
        found, remedy = f"something else named {suffix}", "Save it again as .xlsx or .csv."
    elif b"\t" in first:
        found, remedy = f"text separated by tabs, named {suffix}", "Rename it to .tsv."
    else:
        found, remedy = f"plain text named {suffix}", "Rename it to .csv."
    return Problem(str(path), "a spreadsheet", found, remedy)


def _refuse_foreign(path: Path, beginning: bytes) -> None:
    """Raise BadInput for a pickle and for archives that are not read."""
    if path.suffix.lower() in PICKLES or beginning.startswith(PICKLE_MAGIC):
        raise BadInput(
            Problem(
                str(path),
                "a file that contains only data",
                "a pickle, and reading one runs code that its author chose",
                "Save the data as csv, jsonl or parquet.",
            )
        )
    for magic, (found, remedy) in FOREIGN.items():
        if beginning.startswith(magic):
            raise BadInput(Problem(str(path), "a file of texts", found, remedy))


def _beginning(path: Path) -> bytes:
    if not path.exists():
        folder = path.parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        found = "no such file" if folder.is_dir() else f"no such folder as '{folder}'"
        remedy = remedy_for(str(path), hub=False) or did_you_mean(path.name, names)
        raise BadInput(Problem(str(path), "a file of texts", found, remedy))
    if not path.is_file():
        found = "a pipe or a device, which cannot be read twice"
        raise BadInput(Problem(str(path), "a file of texts", found, "Save it as a file."))
    try:
        with path.open("rb") as file:
            beginning = file.read(8)
    except OSError as error:
        raise BadInput(Problem(str(path), "a file that can be read", f"{error.strerror}")) from error
    if not beginning:
        raise BadInput(Problem(str(path), "a file of texts", "an empty file"))
    return beginning
