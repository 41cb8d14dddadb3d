"""Unpacks the data file of a gzip or zip archive into the cache, within bounds of size."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any

from submillion.cache import cache_root, sha256_of
from submillion.errors import BadInput, Problem
from submillion.sources import store
from submillion.sources.suffixes import FORMATS, PICKLES, SPREADSHEETS

GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
EXPANSION = 50  # times the size of an archive that its content may have
LEAST = 8 << 20  # bytes that the content of every archive may have
BLOCK = 1 << 20
LISTED = 5  # files of an archive named in a message
READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
# What zipfile and gzip raise for damaged archives, some of it by accident.
FAILURES = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    struct.error,
    ValueError,
    LookupError,
    ArithmeticError,
    RuntimeError,
)


def unpacked(file: Path) -> Path:
    """Return the data file inside an archive, unpacked once per content; a file that is no archive itself.

    Args:
        file: an existing file. Spreadsheets, which are zip archives too, are returned as they are.

    Raises:
        BadInput: the archive is damaged or encrypted, has no data file or several, or its content is too large.
        SubmillionError: the cache cannot be written.
    """
    with file.open("rb") as handle:
        beginning = handle.read(4)
    if beginning.startswith(GZIP):
        name, opened = _name_in_gzip(file), gzip.open
    elif beginning == ZIP and not is_spreadsheet(file):
        name, opened = _member(file), None
    else:
        return file
    target = cache_root() / "unpacked" / f"{sha256_of(file)[:32]}-{PurePosixPath(name).stem}"
    content = PurePosixPath(name).name

    def unpack(folder: Path) -> dict[str, Any]:
        try:
            if opened:
                with opened(file, "rb") as source:
                    _copy(file, source, folder / content)
            else:
                with zipfile.ZipFile(file) as archive, archive.open(name) as source:
                    _copy(file, source, folder / content)
        except FAILURES as error:
            raise _damaged(file, error) from error
        return {}

    store.cached_folder(target, unpack)
    return target / content


def is_spreadsheet(file: Path) -> bool:
    """Return whether a zip archive is a spreadsheet: Office Open XML or OpenDocument."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            if {"xl/workbook.xml", "xl/workbook.bin"} & names:
                return True
            return "mimetype" in names and b"opendocument.spreadsheet" in archive.read("mimetype")[:100]
    except FAILURES:
        return False  # whoever unpacks it reports what is wrong


def content_size(file: Path) -> int:
    """Return the size of all files of a zip archive, as it says itself."""
    with zipfile.ZipFile(file) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _name_in_gzip(file: Path) -> str:
    if not file.suffix:
        return f"{file.name}.txt"
    name = file.stem if file.suffix.lower() == ".gz" else file.name
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in (".tar", ".tgz"):
        remedy = "Unpack it (tar -xzf FILE) and name the file or the folder."
        raise BadInput(Problem(str(file), "a compressed data file", "an archive of tar", remedy))
    if suffix not in (*FORMATS, *SPREADSHEETS, *PICKLES, ".gz"):
        remedy = f"Rename it after its format: {PurePosixPath(name).stem}.csv.gz, .jsonl.gz or .txt.gz."
        expected = "a compressed file whose name has the suffix of its format"
        raise BadInput(Problem(str(file), expected, f"'{file.name}'", remedy))
    return name


def _member(file: Path) -> str:
    """Return the one data file of a zip archive."""
    remedy = "Unpack the archive and name the file."
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
    except FAILURES as error:
        raise _damaged(file, error) from error
    names = [
        name
        for name in entries
        if PurePosixPath(name).suffix.lower() in (*FORMATS, *SPREADSHEETS)
        if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
    ]
    if len(names) != 1:
        found = ", ".join(names[:LISTED]) or ", ".join(list(entries)[:LISTED]) or "an empty archive"
        more = len(names or entries) - LISTED
        found += f" and {more:,} more" if more > 0 else ""
        raise BadInput(Problem(str(file), "an archive of one data file", found, remedy))
    entry = entries[names[0]]
    if entry.flag_bits & 1:
        raise BadInput(Problem(str(file), "an archive without a password", "an encrypted one", remedy))
    if entry.compress_type not in READABLE:
        raise BadInput(Problem(str(file), "deflate or bzip2 as compression", "another method", remedy))
    return names[0]


def _copy(file: Path, source: IO[bytes] | gzip.GzipFile, target: Path) -> None:
    allowed = max(LEAST, EXPANSION * file.stat().st_size)
    with target.open("wb") as out:
        for block in iter(lambda: source.read(BLOCK), b""):
            allowed -= len(block)
            if allowed < 0:
                raise BadInput(
                    Problem(
                        str(file),
                        f"content of at most {EXPANSION} times the size of the archive",
                        "more, so that it would fill the disk",
                        "If the archive is in order, unpack it and name the file.",
                    )
                )
            out.write(block)


def _damaged(file: Path, error: Exception) -> BadInput:
    return BadInput(Problem(str(file), "a readable archive", f"a damaged one ({error})", "Copy it again."))
