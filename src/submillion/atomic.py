"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from submillion.errors import SubmillionError

ABANDONED_S = 24 * 3600.0  # what is temporary and was not written to for so long is of a killed process


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; on success it takes the target's place, on failure it goes.

    Raises:
        SubmillionError: the disk refused the write; what stood at `target` before still stands.
    """
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _sync(temporary)
        # mkstemp makes files that only the owner reads; a run is for sharing, like any file a user writes.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        raise refused(target, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def atomic_dir(target: Path, fill: Callable[[Path], object]) -> None:
    """Fill a temporary directory and let it take the place of `target`; on failure the old one stands.

    Raises:
        SubmillionError: the disk refused the write.
    """
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        fill(temporary)
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        temporary.chmod(0o777 & ~_umask())
        _swap(temporary, target)
    except OSError as error:
        raise refused(target, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def forget_abandoned(folder: Path, targets: str) -> None:
    """Delete what killed processes left in a folder of `atomic_file` and `atomic_dir`.

    Lock files stay. What cannot be deleted stays too.

    Args:
        folder: may be absent.
        targets: pattern of the names of what was to be written.
    """
    for path in folder.glob(f".{targets}.*"):
        with suppress(OSError):
            if path.suffix == ".lock" or time.time() - path.stat().st_mtime < ABANDONED_S:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def refused(target: Path, error: OSError) -> SubmillionError:
    """Return the error for a write that the disk refused."""
    return SubmillionError(
        f"{target}: could not be written ({error.strerror or error}). What was saved there before is "
        "unchanged. Free some space or name another place, then try again (a training goes on with "
        "`submillion resume`)."
    )


def _swap(new: Path, target: Path) -> None:
    """Put `new` at `target`. A directory cannot replace a full one in one step, so the old one steps aside."""
    if not target.exists():
        os.replace(new, target)
        return
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
    os.replace(target, aside / "old")
    try:
        os.replace(new, target)
    except OSError:
        os.replace(aside / "old", target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
