"""Atomic writes: files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from submillion.errors import SubmillionError

ABANDONED_S = 24 * 3600.0  # a temporary file that nobody wrote to for this long belongs to a killed process
LONGEST_NAME = 255 - len("..01234567")
"""Bytes of a name, beside which that of the temporary file has room."""
_TEMPORARY = re.compile(r"\.(?P<target>.+?)(?P<swapped>\.old)?\.[0-9a-f]{8}")
# What a disk answers that is full, read-only, over its quota, broken, or not the user's; EFBIG is a file size limit.
_REFUSALS = {
    number
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "EFBIG")
    if (number := getattr(errno, name, None)) is not None
}


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it replaces the target, on failure it is deleted.

    Raises:
        SubmillionError: the disk refused the write; the previous `target` is unchanged.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        with _owned(target, _create_file) as temporary:
            try:
                yield temporary
                _sync(temporary)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise refused(target, error) from error


def atomic_dir(target: Path, fill: Callable[[Path], object]) -> None:
    """Fill a temporary directory, then replace `target` by it; on failure the old one is unchanged.

    Raises:
        SubmillionError: the disk refused the write.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        with _owned(target, _create_folder) as temporary:
            try:
                fill(temporary)
                for file in temporary.rglob("*"):
                    if file.is_file():
                        _sync(file)
                _swap(temporary, target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise refused(target, error) from error


def nearest_folder(place: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    absolute = place.absolute()
    # Not Path.is_dir, which fails below a folder that this user may not enter.
    return next(folder for folder in (absolute, *absolute.parents) if os.path.isdir(folder))  # noqa: PTH112


def why_not_created(path: Path) -> str | None:
    """Return why a new file or folder cannot be made at a path, or None if nothing speaks against it.

    Args:
        path: what does not exist yet; the folders above it may not exist either.
    """
    # Not Path.exists, which fails for a name that is too long and below a folder that this user may not enter.
    above = next((folder for folder in path.parents if os.path.exists(folder)), path.parent)  # noqa: PTH110
    if not above.is_dir():
        return f"{above} is a file"
    if not os.access(above, os.W_OK | os.X_OK):
        return f"{above} is not writable for this user"
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        return os.strerror(errno.ENAMETOOLONG)
    return None


def write_json(target: Path, value: Any) -> None:
    """Write a value as indented JSON, keys in their own order.

    Raises:
        SubmillionError: the disk refused the write.
        ValueError: the value has a NaN or an infinity, which JSON does not know.
    """
    with atomic_file(target) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")


def forget_abandoned(folder: Path, targets: str) -> None:
    """Delete the temporary files that killed processes left beside their targets.

    Lock files stay, and so does whatever cannot be deleted.

    Args:
        folder: where `atomic_file` and `atomic_dir` wrote; may be absent.
        targets: glob pattern of the targets' names.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 (see nearest_folder)
        return
    for path in folder.glob(f".{targets}.*"):
        with suppress(OSError):
            if path.suffix == ".lock" or time.time() - path.stat().st_mtime < ABANDONED_S:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def is_temporary(name: str) -> bool:
    """Return whether a file or folder of this name is one that an atomic write left unfinished."""
    return _TEMPORARY.fullmatch(name) is not None


def restore_swapped(path: Path) -> None:
    """Move the old version of a folder back if its replacement was killed between the two renames.

    Args:
        path: a temporary folder; it is left to be deleted.
    """
    match = _TEMPORARY.fullmatch(path.name)
    if match is None or match["swapped"] is None:
        return
    old, target = path / "old", path.with_name(match["target"])
    if old.exists() and not target.exists():
        old.replace(target)


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn the refusals of a disk inside the block, from whatever library, into one message.

    Args:
        place: named if the error names no file.

    Raises:
        SubmillionError: the disk is full, read-only, over its quota or broken, or belongs to another user.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        named = isinstance(error.filename, str | bytes)
        raise refused(Path(os.fsdecode(error.filename)) if named else place, error) from error


def refused(target: Path, error: OSError) -> SubmillionError:
    """Return the error for a write that the disk refused."""
    return SubmillionError(
        f"{target}: could not be written ({error.strerror or error}). The previous version is unchanged. "
        "Free some space or choose another place, then try again; `resume` continues a training."
    )


def _swap(new: Path, target: Path) -> None:
    """Move `new` to `target`; no rename replaces a directory that has files, so the old one is moved away first."""
    if not target.exists():
        new.replace(target)
        return
    with _owned(target.with_name(f"{target.name}.old"), _create_folder) as aside:
        target.replace(aside / "old")
        try:
            new.replace(target)
        except OSError:
            (aside / "old").replace(target)
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _sync(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())


def _create_file(path: Path) -> int | None:
    """Create an empty file with the permissions of any file that the user writes; return it opened.

    `tempfile.mkstemp` would create it readable by its owner alone, and the umask that a chmod needs can only be read
    by setting it, for all threads of the process.
    """
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    if os.name != "nt":  # where an open file cannot be renamed
        return handle
    os.close(handle)
    return None


def _create_folder(path: Path) -> int | None:
    """Create a folder; return it opened if the system opens folders."""
    path.mkdir()
    return None if os.name == "nt" else os.open(path, os.O_RDONLY)


@contextmanager
def _owned(target: Path, create: Callable[[Path], int | None]) -> Iterator[Path]:
    """Create a temporary file or folder beside `target`, and hold a lock on it: without one, `_sweep` deletes it."""
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            handle = create(path)
        except FileExistsError:
            continue
        if handle is None or (_lock(handle) is not False and os.fstat(handle).st_nlink):
            break
        os.close(handle)  # another process took it for an abandoned one before it was locked
    try:
        yield path
    finally:
        if handle is not None:
            os.close(handle)


def _sweep(target: Path) -> None:
    """Delete the temporary files and folders that killed processes left beside a target."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*"):
        if os.name == "nt" or not is_temporary(path.name):
            continue
        with suppress(OSError):  # gone, or not this user's
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if _lock(handle):
                    restore_swapped(path)
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(handle)


def _lock(handle: int) -> bool | None:
    """Lock an opened file until it is closed; return whether that was possible, None if the file system cannot."""
    import fcntl  # noqa: PLC0415 - not on Windows

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
