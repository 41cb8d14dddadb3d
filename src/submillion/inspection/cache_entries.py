"""Lists the entries of the cache folder, with size and time of last use."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from submillion.cache import cache_root
from submillion.files.atomic import is_temporary
from submillion.sources.store import RECEIPT
from submillion.terminal.text_table import align_columns
from submillion.wording import byte_count, plural, printable

KINDS = {
    "encoders": "encoders from the package registry",
    "data": "data sets",
    "hub": "hashes of encoders in the hub's own cache",
    "wheels": "packages whose download is unfinished",
    "npm": "packages of npm that a web export contains",
    "converted": "files in another form",
    "unpacked": "files out of archives",
    "sheets": "tables out of spreadsheets",
    "tokens": "token ids of texts",
    "prefix": "output of frozen layers",
    "estimators": "classifiers of SubmillionClassifier",
}
"""Folders of the cache, and their content."""
# The files and folders that this version and earlier ones write. Others are not ours, whatever folder the cache is in.
_HASHED = re.compile(r"[0-9a-f]{32}(\.safetensors|\.states)?")
_NAMES = {
    "tokens": _HASHED,
    "prefix": _HASHED,
    "estimators": re.compile("[0-9a-f]{32}"),
    "wheels": re.compile(r".+\.whl"),
    "hub": re.compile(r"[\w.-]+/[0-9a-f]{40}\.json"),
}
_UNFINISHED = re.compile(r"\.(pip\..+|.+\.partial)")


@dataclass(frozen=True)
class Entry:
    """A file or a folder of the cache."""

    kind: str
    """One of KINDS."""
    name: str
    """Its path below the folder of its kind."""
    size: int
    """Bytes."""
    last_use: str
    """ISO 8601, UTC."""
    unfinished: bool
    """Left by a process that was killed, or being written now."""

    @property
    def place(self) -> Path:
        """Its path."""
        return cache_root() / self.kind / self.name

    @property
    def age_s(self) -> float:
        """Seconds since its last use."""
        return time.time() - datetime.fromisoformat(self.last_use).timestamp()


@dataclass(frozen=True)
class Listing:
    """The entries of the cache folder."""

    path: str
    entries: list[Entry]
    """By kind, largest first."""

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return sum(entry.size for entry in self.entries)

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each kind that has entries."""
        return {
            kind: sum(entry.size for entry in self.entries if entry.kind == kind)
            for kind in dict.fromkeys(entry.kind for entry in self.entries)
        }

    def to_json(self) -> dict[str, Any]:
        """Return path, size and entries."""
        return {"path": self.path, "size": self.size, "entries": [asdict(entry) for entry in self.entries]}

    def render(self) -> str:
        """Return a table of the entries, and a line with the total."""
        total = f"{printable(self.path)}: {byte_count(self.size)} in {plural(len(self.entries), 'entry', 'entries')}"
        if not self.entries:
            return total
        rows = [
            [
                entry.kind,
                f"{entry.name} (unfinished)" if entry.unfinished else entry.name,
                byte_count(entry.size),
                entry.last_use[:10],
            ]
            for entry in self.entries
        ]
        return "\n".join(
            [*align_columns([["kind", "entry", "size", "last use"], *rows], right={2}), "", total]
        )


def listing() -> Listing:
    """Return the entries of the cache folder; links to folders are not followed."""
    entries = []
    for kind in KINDS:
        folder = cache_root() / kind
        for path in _paths(kind, folder):
            with suppress(OSError):  # deleted meanwhile
                entries.append(_measured(kind, path, path.relative_to(folder).as_posix()))
    return Listing(
        str(cache_root()), sorted(entries, key=lambda entry: (entry.kind, -entry.size, entry.name))
    )


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links are not followed."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            with suppress(OSError):  # deleted meanwhile
                total += (Path(folder) / name).lstat().st_size
    return total


def children(folder: Path) -> list[Path]:
    """Return the entries of a folder that are no links; none if it is absent, a link, or cannot be read."""
    try:
        return (
            [] if folder.is_symlink() else sorted(path for path in folder.iterdir() if not path.is_symlink())
        )
    except OSError:
        return []


def _paths(kind: str, folder: Path) -> Iterator[Path]:
    """Yield the paths of a kind's entries."""
    for path in children(folder):
        nested = path.is_dir() and not path.name.startswith(".") and not (path / RECEIPT).is_file()
        # A repository of the hub is a folder with an entry per commit.
        for candidate in children(path) if nested and kind in ("data", "hub") else [path]:
            if _is_entry(kind, candidate, candidate.relative_to(folder).as_posix()):
                yield candidate


def _is_entry(kind: str, path: Path, name: str) -> bool:
    if is_temporary(path.name) or _UNFINISHED.fullmatch(path.name):
        return True
    if pattern := _NAMES.get(kind):
        return pattern.fullmatch(name) is not None
    return (path / RECEIPT).is_file()


def _measured(kind: str, path: Path, name: str) -> Entry:
    # The receipt of a folder is read at every use, and most systems record the time of reading once a day.
    receipt = path / RECEIPT
    stat = (receipt if receipt.is_file() else path).lstat()
    used = max(stat.st_mtime, stat.st_atime if receipt.is_file() else 0)
    last_use = datetime.fromtimestamp(used, UTC).isoformat(timespec="seconds")
    return Entry(kind, name, size_of(path), last_use, path.name.startswith("."))
