"""Atomic writes: files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
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
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _new_file(target)
        yield temporary
        _sync(temporary)
        temporary.replace(target)
    except OSError as error:
        raise refused(target, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def atomic_dir(target: Path, fill: Callable[[Path], object]) -> None:
    """Fill a temporary directory, then replace `target` by it; on failure the old one is unchanged.

    Raises:
        SubmillionError: the disk refused the write.
    """
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _new_dir(target)
        fill(temporary)
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        _swap(temporary, target)
    except OSError as error:
        raise refused(target, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


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
    aside = _new_dir(target.with_name(f"{target.name}.old"))
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


def _new_file(target: Path) -> Path:
    """Create an empty file beside `target` with the permissions of any file that the user writes.

    `tempfile.mkstemp` would create it readable by its owner alone, and the umask that a chmod needs can only be read
    by setting it, for all threads of the process.
    """
    while True:
        path = _temporary_name(target)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
        except FileExistsError:
            continue
        return path


def _new_dir(target: Path) -> Path:
    while True:
        path = _temporary_name(target)
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


def _temporary_name(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}")
