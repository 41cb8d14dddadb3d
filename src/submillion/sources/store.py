"""Cached folders: filled once for all processes, complete or absent, with a receipt that holds their hashes."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from submillion.cache import lock_of, locked, sha256_of
from submillion.errors import BadInput, SubmillionError
from submillion.files import strict_json
from submillion.files.atomic import write_json

RECEIPT = "submillion.json"
"""File in a cached folder with the sha256, size, times and inode of each file, and facts about their source."""

Entry = dict[str, Any]  # {"sha256": hex, "size": bytes, "mtime_ns", "ctime_ns": nanoseconds, "inode": number}

_hashed: ContextVar[dict[tuple[object, ...], str] | None] = ContextVar("submillion_hashed", default=None)


@contextlib.contextmanager
def hashed_in_full() -> Iterator[None]:
    """Hash every downloaded file that is opened inside the block, each once, whatever its receipt says.

    Outside such a block a file is hashed when it is downloaded and whenever its size, its inode or one of its two times
    differs from the receipt. Whoever may write to the cache can change a file and the receipt together, and broken
    hardware changes bytes without changing any of these facts: neither is noticed there. `verify` uses this block.
    """
    token = _hashed.set({})
    try:
        yield
    finally:
        _hashed.reset(token)


def hashes(folder: Path, names: Iterable[str], receipt: Path) -> dict[str, str]:
    """Return sha256 by name for files outside the cache; see `hashed_in_full` for those that are not read again.

    Args:
        folder: where the files are.
        names: their paths in it, with `/`.
        receipt: our file that stores hashes, sizes, times and inodes.
    """
    known = (_read(receipt) or {"files": {}})["files"]
    entries = _measure(folder, names, known)
    if entries != known:
        _record(receipt, {"files": entries})
    return {name: entry["sha256"] for name, entry in entries.items()}


def cached_folder(
    target: Path, fill: Callable[[Path], Mapping[str, Any]], expected: Mapping[str, str] | None = None
) -> Entry:
    """Return the receipt of a cached folder, after making the folder if it is absent, broken or out of date.

    One of several processes makes the folder, and the others wait. The folder takes its name once it is complete.

    Args:
        target: the folder, `cache_root()` above it.
        fill: writes the files into the empty folder that it receives, and returns the `facts` of the receipt.
        expected: sha256 by name, if known; a cached folder with other hashes is out of date.

    Returns:
        `files` (name to sha256, size, times, inode) and `facts`.

    Raises:
        SubmillionError: the disk refused the write.
        BadInput: raised by `fill`; no folder is left behind then.
    """
    if receipt := intact(target, expected):
        return receipt
    try:
        waiting = f"another process is fetching {target.name}; waiting for it."
        with locked(lock_of(target), waiting):
            # The previous holder of the lock may have made this folder.
            return intact(target, expected) or _made(target, fill)
    except OSError as error:
        raise SubmillionError(
            f"{target}: could not be written ({error.strerror or error}). Free some space, or name another "
            "folder for the cache with the environment variable SUBMILLION_CACHE."
        ) from error


def intact(target: Path, expected: Mapping[str, str] | None = None) -> Entry | None:
    """Return the receipt of a folder that is complete and unchanged; None otherwise.

    Files with other times or another inode, as after a copy, are hashed again; see `hashed_in_full` for the others.
    """
    receipt = _read(target / RECEIPT)
    if receipt is None:
        return None
    known = receipt["files"]
    recorded = {name: entry["sha256"] for name, entry in known.items()}
    if expected is not None and recorded != dict(expected):
        return None
    try:
        entries = _measure(target, known, known)
    except OSError:
        return None
    if any(entry["sha256"] != recorded[name] for name, entry in entries.items()):
        return None
    if entries != known:
        _record(target / RECEIPT, receipt | {"files": entries})
    return receipt


def _made(target: Path, fill: Callable[[Path], Mapping[str, Any]]) -> Entry:
    partial = target.with_name(f".{target.name}.partial")
    try:
        # This process has the lock, so these files are of a process that was killed.
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
    """Return sha256, size, times and inode by name; the hash is that of `known` if all others are."""
    entries, hashed = {}, _hashed.get()
    for name in names:
        file = folder / name
        stat = file.stat()
        facts = {
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            # Unlike the time of modification, that of the last change cannot be set by a program.
            "ctime_ns": stat.st_ctime_ns,
            "inode": stat.st_ino,
        }
        before = known.get(name, {})
        if hashed is not None:
            key = (file, *facts.values())
            sha256 = hashed[key] = hashed.get(key) or sha256_of(file)
        elif {key: before.get(key) for key in facts} == facts:
            sha256 = before["sha256"]
        else:
            sha256 = sha256_of(file)
        entries[name] = {"sha256": sha256, **facts}
    return entries


def _read(receipt: Path) -> Entry | None:
    """Return a receipt; None if it is absent or damaged, in which case all files are hashed again."""
    try:
        values: Entry = strict_json.read(receipt, "the receipt of a cached folder")
        for entry in values["files"].values():
            bytes.fromhex(entry["sha256"])
    except (BadInput, ValueError, TypeError, KeyError, AttributeError):
        return None
    return values


def _record(receipt: Path, values: Entry) -> None:
    """Write a receipt; if the disk refuses it, the next call hashes again."""
    with contextlib.suppress(SubmillionError):
        write_json(receipt, values)
