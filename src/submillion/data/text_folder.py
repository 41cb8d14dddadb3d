"""A folder of text files as a table: each file is a text, and the folder that it lies in may be its class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from submillion import notices
from submillion.data.table import ID, LABEL, TEXT, RowStream, Table
from submillion.errors import BadInput, Problem
from submillion.sources.data_folder import is_data, is_hidden, some_of
from submillion.sources.encoding import further_encoding
from submillion.sources.suffixes import PLAIN
from submillion.sources.text_files import in_unicode, read_text, text_files
from submillion.wording import plural


def text_folder(folder: Path, encoding: str | None = None, likely: str | None = None) -> Table:
    """Open a folder of text files, with the columns `id` (path below the folder), `text` and `label`.

    Args:
        folder: an existing folder; the files may lie in folders below it.
        encoding: of the files; None finds that of each.
        likely: encoding that is used instead of detecting one, for a file that is not utf-8.

    Raises:
        BadInput: it has no text files, or as many tables, whose rows would be missing silently.
    """
    files = text_files(folder)
    if not files:
        remedy = "Name a file, or a folder of texts."
        raise BadInput(Problem(str(folder), "files of one text each (.txt)", "a folder without any", remedy))

    _check_tables(folder, len(files))

    def rows(wanted: Sequence[str]) -> RowStream:
        for number, file in enumerate(files, start=1):
            values = {
                ID: in_unicode(file.relative_to(folder).as_posix()),
                LABEL: in_unicode(file.parent.name),
            }
            if TEXT in wanted:
                values[TEXT] = read_text(file, encoding or further_encoding(file, likely))[0]
            yield number, [values[name] for name in wanted]

    return Table(folder, [ID, TEXT, LABEL], rows, unit="file", text=TEXT, label=LABEL, is_plain=True)


def _check_tables(folder: Path, texts: int) -> None:
    """Refuse a folder of tables in which a few texts lie; name the tables beside many texts in a notice."""
    tables = [
        file.relative_to(folder)
        for file in sorted(folder.rglob("*"))
        if is_data(file) and file.suffix.lower() not in PLAIN and file.is_file()
    ]
    tables = [file for file in tables if not any(map(is_hidden, file.parts))]
    names = some_of([in_unicode(file.as_posix()) for file in tables])
    if len(tables) >= texts:
        found = f"{plural(texts, 'such file')} beside {plural(len(tables), 'table')}: {names}"
        remedy = "Name one of the tables, or a folder of texts alone."
        raise BadInput(Problem(str(folder), "files of one text each (.txt)", found, remedy))
    if tables:
        notices.emit("files_left_out", f"{folder}: tables are not read: {names}.", files=len(tables))
