"""Files of one text each: which files they are, what they say, and the hash of those in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from submillion.cache import sha256_of
from submillion.sources.encoding import text_form
from submillion.sources.suffixes import PLAIN

NUL = b"\0"


def text_files(folder: Path) -> list[Path]:
    """Return the text files in a folder and in the folders below it, in the order of their paths."""
    files = [
        file
        for file in folder.rglob("*")
        if file.is_file()
        and is_text(file)
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    return sorted(files)


def is_text(file: Path) -> bool:
    """Return whether a file may be one text: its suffix is that of a text or a number, or it has none."""
    suffix = file.suffix.lower()
    return suffix in PLAIN or not suffix or suffix[1:].isdecimal()


def in_unicode(name: str) -> str:
    """Return a name whose bytes may not be utf-8 with escapes for those that are not."""
    return name.encode("utf-8", "backslashreplace").decode()


def read_text(file: Path, encoding: str | None) -> tuple[str, str | None]:
    """Return the text of a file, and its encoding if that was detected."""
    data = file.read_bytes()
    if encoding is None and NUL not in data:
        with suppress(UnicodeDecodeError):  # its encoding is detected then
            return data.decode("utf-8-sig").strip("\r\n"), None
    form = text_form(file, encoding)
    return data.decode(form.encoding).strip("\r\n"), form.encoding if form.detected else None


def content_sha256(path: Path) -> str | None:
    """Return the sha256 of a file, or of paths and bytes of the text files in a folder; None if there is neither."""
    if path.is_dir():
        return digest_of(path, text_files(path))
    return sha256_of(path) if path.is_file() else None


def digest_of(folder: Path, files: Iterable[Path]) -> str:
    """Return the sha256 of the paths below a folder and the bytes of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(in_unicode(file.relative_to(folder).as_posix()).encode() + NUL)
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
