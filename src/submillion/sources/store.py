"""The cache: its place, one download for many processes, folders that are whole and proven or absent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.errors import SubmillionError

RECEIPT = "submillion.json"
"""In a cached folder: sha256, size and time of each file, and facts about their source."""

Entry = dict[str, Any]  # {"sha256": hex, "size": bytes, "mtime_ns": nanoseconds}


def cache_root() -> Path:
    """Return the cache folder: $SUBMILLION_CACHE, or `submillion` in the user's cache folder."""
    if configured := os.environ.get("SUBMILLION_CACHE"):
        return Path(configured).expanduser().absolute()
    home = Path.home()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(base) / "submillion"


def sha256_of(file: Path) -> str:
    """Return a file's sha256 in hex."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hashes(folder: Path, names: Iterable[str], receipt: Path) -> dict[str, str]:
    """Return sha256 by name for files that others keep; those unchanged since the last call are not read.

    Args:
        folder: where the files are.
        names: their paths in it, with `/`.
        receipt: a file of ours that remembers hashes, sizes and times.
    """
    known = (_read(receipt) or {"files": {}})["files"]
    entries = _measure(folder, names, known)
    if entries != known:
        _remember(receipt, {"files": entries})
    return {name: entry["sha256"] for name, entry in entries.items()}


def kept(
    target: Path, fill: Callable[[Path], Mapping[str, Any]], expected: Mapping[str, str] | None = None
) -> Entry:
    """Return the receipt of a cached folder, which is made first if it is absent, broken or out of date.

    Of several processes one makes the folder and the others wait. It takes its name when it is complete.

    Args:
        target: the folder, `cache_root()` above it.
        fill: puts the files into the empty folder it is given; the receipt keeps what it returns as `facts`.
        expected: sha256 by name, where known; a cached folder with others is out of date.

    Returns:
        `files` (name to sha256, size, mtime_ns) and `facts`.

    Raises:
        SubmillionError: the disk refused the write.
        BadInput: whatever `fill` refuses; nothing is left behind then.
    """
    if receipt := intact(target, expected):
        return receipt
    try:
        with _alone(target):
            # Whoever held the lock before may have been making just this.
            return intact(target, expected) or _made(target, fill)
    except OSError as error:
        raise SubmillionError(
            f"{target}: could not be written ({error.strerror or error}). Free some space, or name another "
            "folder for the cache with the environment variable SUBMILLION_CACHE."
        ) from error


def intact(target: Path, expected: Mapping[str, str] | None = None) -> Entry | None:
    """Return the receipt of a complete folder whose files are what they were; None otherwise.

    Files of another time, as after a copy, are hashed again; of the same time and size, they are trusted.
    """
    receipt = _read(target / RECEIPT)
    if receipt is None:
        return None
    known = receipt["files"]
    promised = {name: entry["sha256"] for name, entry in known.items()}
    if expected is not None and promised != dict(expected):
        return None
    try:
        entries = _measure(target, known, known)
    except OSError:
        return None
    if any(entry["sha256"] != promised[name] for name, entry in entries.items()):
        return None
    if entries != known:
        _remember(target / RECEIPT, receipt | {"files": entries})
    return receipt


def _made(target: Path, fill: Callable[[Path], Mapping[str, Any]]) -> Entry:
    partial = target.with_name(f".{target.name}.partial")
    try:
        # The lock is ours, so what lies here is left from a process that was killed.
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        facts = dict(fill(partial))
        names = sorted(file.relative_to(partial).as_posix() for file in partial.rglob("*") if file.is_file())
        receipt = {"files": _measure(partial, names, {}), "facts": facts}
        write_json(partial / RECEIPT, receipt)
        if target.exists():
            shutil.rmtree(target)
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return receipt


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the lock of a target; it ends with the process, however that ends."""
    from filelock import FileLock, Timeout

    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=1)
    except Timeout:
        notices.emit("waiting", f"another process is fetching {target.name}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _measure(folder: Path, names: Iterable[str], known: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return sha256, size and time by name, the hash from `known` where size and time are those there."""
    entries = {}
    for name in names:
        file = folder / name
        stat = file.stat()
        entry = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        before = known.get(name, {})
        same = {key: before.get(key) for key in entry} == entry
        entries[name] = {"sha256": before["sha256"] if same else sha256_of(file), **entry}
    return entries


def _read(receipt: Path) -> Entry | None:
    """Return a receipt; None where there is none or it is damaged, for then all is measured again."""
    try:
        values = json.loads(receipt.read_text(encoding="utf-8"))
        for entry in values["files"].values():
            bytes.fromhex(entry["sha256"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return values


def _remember(receipt: Path, values: Entry) -> None:
    """Write a receipt that only saves time: on a disk that cannot be written, the next call hashes again."""
    with contextlib.suppress(OSError):
        write_json(receipt, values)


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Write a small file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may write the same file at the same time.
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
