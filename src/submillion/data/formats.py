"""Opens a data file according to its first bytes and its suffix; other formats are rejected by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from submillion.data import arrow_form, delimited, json_form
from submillion.data.table import Table
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.sources.convert import converted
from submillion.sources.encoding import announce, text_form
from submillion.sources.suffixes import FORMATS, PICKLE_MAGIC, PICKLES

TEXT_READERS: dict[str, Callable[[Path, str | None], Table]] = {
    "csv": delimited.comma_separated,
    "tsv": delimited.tab_separated,
    "jsonl": json_form.json_file,
    "json": json_form.json_file,
    "text": delimited.text_lines,
}
READERS: dict[str, Callable[[Path], Table]] = {"parquet": arrow_form.parquet, "arrow": arrow_form.arrow}
FOREIGN = {
    b"\x1f\x8b": ("a gzip archive", "Unpack it: gunzip FILE."),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "Unpack it, or save the sheet as csv (utf-8)."),
    b"BZh": ("a bzip2 archive", "Unpack it: bunzip2 FILE."),
    b"\xfd7zXZ": ("an xz archive", "Unpack it: unxz FILE."),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", "Unpack it: unzstd FILE."),
}


def open_table(path: str | Path, encoding: str | None = None) -> Table:
    """Open a file of texts, labelled or not.

    Args:
        path: csv, tsv, jsonl, json, parquet, arrow or plain text lines; AG News' and Orange's forms are converted.
        encoding: of a text file; None finds it.

    Raises:
        BadInput: no such file, an empty one, a pickle, or an unknown format.
    """
    path = Path(path)
    beginning = _beginning(path)
    suffix = path.suffix.lower()
    if suffix in PICKLES or beginning.startswith(PICKLE_MAGIC):
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
    if beginning.startswith(b"PAR1"):
        return arrow_form.parquet(path)
    if beginning.startswith(b"ARROW1"):
        return arrow_form.arrow(path)
    path = converted(path, encoding).file
    form = FORMATS.get(path.suffix.lower(), "" if path.suffix else "text")
    if not form:
        raise BadInput(
            Problem(str(path), f"a file whose name ends in {', '.join(FORMATS)}", f"'{path.suffix}'")
        )
    if form in READERS:
        return READERS[form](path)
    announce(path, text_form(path, encoding))
    return TEXT_READERS[form](path, encoding)


def _beginning(path: Path) -> bytes:
    if not path.exists():
        folder = path.parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        found = "no such file" if folder.is_dir() else f"no such folder as '{folder}'"
        raise BadInput(Problem(str(path), "a file of texts", found, did_you_mean(path.name, names)))
    if path.is_dir():
        raise BadInput(Problem(str(path), "a file of texts", "a folder"))
    try:
        with path.open("rb") as file:
            beginning = file.read(8)
    except OSError as error:
        raise BadInput(Problem(str(path), "a file that can be read", f"{error.strerror}")) from error
    if not beginning:
        raise BadInput(Problem(str(path), "a file of texts", "an empty file"))
    return beginning
