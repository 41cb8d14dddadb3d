"""The cache folder: its place, the hash of a file, the lock between processes, and pruning."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.files.atomic import forget_abandoned


def cache_root() -> Path:
    """Return the cache folder: $SUBMILLION_CACHE, or `submillion` in the user's cache folder.

    Raises:
        BadInput: it is in a home folder, and there is none, as for a user of a container without a name.
    """
    configured = os.environ.get("SUBMILLION_CACHE")
    try:
        if configured:
            return Path(configured).expanduser().absolute()
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "submillion"
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        else:
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "submillion"
    except RuntimeError as error:
        remedy = "Set the environment variable SUBMILLION_CACHE to the absolute path of a folder."
        found = f"'{configured}', of an unknown user" if configured else "a user without a home folder"
        raise BadInput(Problem("the cache", "a folder", found, remedy)) from error


def sha256_of(file: Path) -> str:
    """Return a file's sha256 in hex."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def locked(lock_file: Path, waiting: str = "", wait: bool = True, reentrant: bool = False) -> Iterator[None]:
    """Hold a lock that other processes respect; it ends with the process, however that ends.

    Args:
        lock_file: made if absent, and never deleted.
        waiting: notice if another process holds the lock for more than a second; empty waits without one.
        wait: False raises instead of waiting.
        reentrant: a thread that holds the lock may take it again.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is False.
        OSError: the folder refuses a lock file.
    """
    # Not at the top: filelock loads asyncio, and `plan` needs no lock.
    from filelock import FileLock, Timeout

    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file, is_singleton=reentrant)
    try:
        # Not at once without waiting: a process that only asks whether it is held holds it for a moment.
        lock.acquire(timeout=1 if wait else 0.2)
    except Timeout as error:
        if not wait:
            raise BlockingIOError(f"{lock_file} is held by another process") from error
        if waiting:
            notices.emit("waiting", waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def lock_of(target: Path) -> Path:
    """Return the lock file of a file or a folder, beside it."""
    return target.with_name(f".{target.name}.lock")


def prune(folder: Path, max_bytes: int) -> None:
    """Delete the least recently used entries of a cache folder until the rest takes at most `max_bytes`.

    The time of last use is an entry's modification time. What cannot be deleted stays; a process that has a deleted
    file mapped keeps its pages.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir fails below a folder that this user may not enter)
        return
    forget_abandoned(folder, "*")
    entries = []
    for path in folder.glob("[!.]*"):
        with suppress(OSError):
            stat = path.stat()
            # A folder is an entry of an earlier version.
            files = [file.stat().st_size for file in path.rglob("*")] if path.is_dir() else [stat.st_size]
            entries.append((stat.st_mtime, sum(files), path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= max_bytes:
            break
        with suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            total -= size
