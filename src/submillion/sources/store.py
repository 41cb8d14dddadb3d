"""Cached folders: filled once for all processes, complete or absent, with a receipt that holds their hashes."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from submillion.atomic import write_json
from submillion.cache import lock_of, locked, sha256_of
from submillion.errors import SubmillionError

RECEIPT = "submillion.json"
"""In a cached folder: sha256, size and time of each file, and facts about their source."""

Entry = dict[str, Any]  # {"sha256": hex, "size": bytes, "mtime_ns": nanoseconds}


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
        waiting = f"another process is fetching {target.name}; waiting for it."
        with locked(lock_of(target), waiting):
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
        (partial / RECEIPT).write_text(json.dumps(receipt, indent=2), encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return receipt


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
    with contextlib.suppress(SubmillionError):
        write_json(receipt, values)
