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
"""File in a cached folder with the sha256, size and time of each file, and facts about their source."""

Entry = dict[str, Any]  # {"sha256": hex, "size": bytes, "mtime_ns": nanoseconds}


def hashes(folder: Path, names: Iterable[str], receipt: Path) -> dict[str, str]:
    """Return sha256 by name for files outside the cache; files that did not change since the last call are not read.

    Args:
        folder: where the files are.
        names: their paths in it, with `/`.
        receipt: our file that stores hashes, sizes and times.
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
        `files` (name to sha256, size, mtime_ns) and `facts`.

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

    Files with another time, as after a copy, are hashed again; files with the same time and size are not.
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
    """Return sha256, size and time by name; the hash is that of `known` if size and time are."""
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
    """Return a receipt; None if it is absent or damaged, in which case all files are hashed again."""
    try:
        values: Entry = json.loads(receipt.read_text(encoding="utf-8"))
        for entry in values["files"].values():
            bytes.fromhex(entry["sha256"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return values


def _record(receipt: Path, values: Entry) -> None:
    """Write a receipt; if the disk refuses it, the next call hashes again."""
    with contextlib.suppress(SubmillionError):
        write_json(receipt, values)
