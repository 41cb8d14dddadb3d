"""The place of a run: checked, locked, cleared of what a killed process left, and replaced without losing a run."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from submillion.cache import locked
from submillion.errors import BadInput, Problem
from submillion.files.atomic import disk_errors, is_temporary, restore_swapped
from submillion.files.desktop import DESKTOP_FILES
from submillion.run_layout import CONTENTS, MANIFEST

STATE = Path("checkpoint", "latest", "state.safetensors")
"""The saved state of a training: without one, an unfinished run is worth nothing."""
ANOTHER = "Choose another directory with @{out}."
LOCK = ".lock"
BEGUN = ".begun"
"""Says that the files beside it are those of a new run; without a manifest, that run was killed before it had one."""
REPLACED = ".replaced"
"""Holds the earlier run, whole, until the run that replaces it is complete."""
MOVING = ".replaced.moving"
"""Its name while files are moved into it or back; nothing of the new run exists at that time."""


def check(place: Path, overwrite: bool, sources: Iterable[str] = ()) -> None:
    """Refuse a place where no run can be made; nothing is left there.

    Args:
        place: the directory of the run.
        overwrite: whether a run that is there may be replaced.
        sources: absolute paths of what the new run is made of.

    Raises:
        BadInput: it is a file, holds files, holds files that no run wrote, holds a source, or cannot be written to.
    """
    try:
        place.stat()
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that is too long, a file above it, a folder that may not be read
        raise _unusable(place, error) from error
    if place.is_file():
        raise BadInput(Problem(str(place), "a new or empty directory", "a file", ANOTHER))
    present = _contents(place)
    if present and not overwrite:
        raise BadInput(
            Problem(
                str(place),
                "a new or empty directory",
                f"one that holds {', '.join(present[:4])}",
                "Choose another directory with @{out}, replace this run with @{overwrite}, or, if it was "
                "interrupted, continue it with `resume`.",
            )
        )
    if foreign := [name for name in present if name not in (*CONTENTS, REPLACED, MOVING)]:
        raise BadInput(
            Problem(
                str(place),
                "a run directory to overwrite",
                f"files that no run wrote: {', '.join(foreign[:4])}",
                "Choose another directory with @{out}; these files are unchanged.",
            )
        )
    whole = place.resolve()
    if held := [source for source in sources if Path(source).is_relative_to(whole)]:
        raise BadInput(
            Problem(
                str(place),
                "a run that the new one does not need",
                f"one that holds {Path(held[0]).relative_to(whole)}, which the new one is made of",
                "Choose another directory with @{out}.",
            )
        )
    made: list[Path] = []
    try:
        _make(place, made)
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(b"probe")
            probe.flush()
    except OSError as error:
        raise _unusable(place, error) from error
    finally:
        _remove_empty(made)


def _unusable(place: Path, error: OSError) -> BadInput:
    found = f"{error.strerror or error}"
    return BadInput(Problem(str(place), "a directory that can be written to", found, ANOTHER))


@contextmanager
def new_run(place: Path, overwrite: bool) -> Iterator[None]:
    """Hold an empty run directory for the body, which trains a run in it; a run that was there is moved aside.

    The earlier run is deleted when the new one is complete. It is moved back if the body fails before the new one has
    a saved state. A refused training (BadInput) without a saved state leaves nothing. After a kill, the next process
    that holds the lock decides in the same way.

    Raises:
        BadInput: as `check`, or another process holds the lock.
        SubmillionError: the disk refused the directory.
    """
    made: list[Path] = []
    try:
        with disk_errors(place):
            _make(place, made)
        with held(place):
            check(place, overwrite)
            replaces = _set_aside(place)
            try:
                (place / BEGUN).touch()
                yield
            except BaseException as error:
                if not (place / STATE).is_file() and (replaces or isinstance(error, BadInput)):
                    _undo(place)
                _settle(place)
                if not _entries(place):
                    (place / LOCK).unlink(missing_ok=True)
                raise
    except BaseException:
        _remove_empty(made)
        raise


@contextmanager
def held(place: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a run, and clear what a killed process left there.

    The same thread may hold it more than once. The lock ends with the process.

    Args:
        place: an existing directory.
        wait: for another process that holds the lock, in place of an error.

    Raises:
        BadInput: another process holds the lock, or the directory cannot be written to.
    """
    with _locked(place, wait), disk_errors(place):
        _clear(place)
        try:
            yield
        finally:
            _settle(place)


@contextmanager
def _locked(place: Path, wait: bool) -> Iterator[None]:
    lock = locked(place.resolve() / LOCK, wait=wait, reentrant=True)
    try:
        lock.__enter__()
    except BlockingIOError as error:
        raise BadInput(
            Problem(
                str(place),
                "a run that no other process is working on",
                "one that another process is training, evaluating or reporting",
                "Wait for that process to end.",
            )
        ) from error
    except OSError as error:
        raise BadInput(
            Problem(
                str(place),
                "a run directory that can be written to",
                f"{error.strerror or error}",
                "Copy the run to a place where you may write.",
            )
        ) from error
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def is_locked(place: Path) -> bool:
    """Return whether another process is working on a run; changes nothing."""
    if not (place / LOCK).is_file():
        return False
    try:
        with locked(place.resolve() / LOCK, wait=False):
            return False
    except BlockingIOError:
        return True
    except OSError:  # not this user's to lock, so nobody can say
        return False


def is_replacing(place: Path) -> bool:
    """Return whether an earlier run is set aside at this place."""
    return (place / REPLACED).is_dir() or (place / MOVING).is_dir()


def _entries(place: Path) -> list[str]:
    """Return what is in a directory, apart from our own marks, temporary files and those of a desktop."""
    if not place.is_dir():
        return []
    names = sorted({entry.name for entry in place.iterdir()} - DESKTOP_FILES - {LOCK, BEGUN})
    return [name for name in names if not is_temporary(name)]


def _contents(place: Path) -> list[str]:
    """Return what a new run would replace: not the files of a run that was killed before it had a manifest."""
    names = _entries(place)
    if (place / BEGUN).is_file() and not (place / MANIFEST).is_file():
        return [name for name in names if name in (REPLACED, MOVING)]
    return names


def _make(place: Path, made: list[Path]) -> None:
    """Make a directory and the missing ones above it; `made` receives them, the outermost first."""
    for folder in reversed([place, *place.parents]):
        if not folder.is_dir():
            folder.mkdir()
            made.append(folder)


def _remove_empty(made: list[Path]) -> None:
    for folder in reversed(made):
        with suppress(OSError):  # another process has put something there
            folder.rmdir()


def _set_aside(place: Path) -> bool:
    """Move everything into REPLACED, an earlier REPLACED included; return whether there was anything.

    Inside the directory and not beside it, so that it works for a link, a mount point and the current directory.

    Raises:
        BadInput: something cannot be moved; everything is back.
    """
    present = _contents(place)
    if not present:
        return False
    moving = place / MOVING
    try:
        moving.mkdir()
        for name in sorted(present, key=lambda name: name != MANIFEST):  # first: half a run has no manifest
            (place / name).rename(moving / name)
        moving.rename(place / REPLACED)
    except OSError as error:
        _move_back(place)
        raise BadInput(
            Problem(
                str(place),
                "a run whose files can be moved aside",
                f"{error.strerror or error}",
                "Choose another directory with @{out}; this run is unchanged.",
            )
        ) from error
    return True


def _undo(place: Path) -> None:
    """Delete the new run, and move the earlier one back."""
    # The manifest first: without one, `_settle` goes on with this if it is killed.
    names = sorted(set(_entries(place)) - {REPLACED, MOVING}, key=lambda name: name != MANIFEST)
    for name in names:
        _delete(place / name)
    (place / BEGUN).unlink(missing_ok=True)
    if (place / REPLACED).is_dir():
        (place / REPLACED).rename(place / MOVING)
    _move_back(place)


def _move_back(place: Path) -> None:
    moving = place / MOVING
    if moving.is_dir():
        for entry in sorted(moving.iterdir(), key=lambda entry: entry.name == MANIFEST):  # last
            entry.rename(place / entry.name)
        moving.rmdir()


def _settle(place: Path) -> None:
    """Bring back the earlier run if the new one has not begun, and delete it if the new one is complete."""
    _move_back(place)
    if not (place / MANIFEST).is_file():
        if (place / BEGUN).is_file() or (place / REPLACED).is_dir():
            _undo(place)
        return
    (place / BEGUN).unlink(missing_ok=True)
    if (place / REPLACED).is_dir() and _is_complete(place):
        _delete(place / REPLACED)


def _clear(place: Path) -> None:
    """Undo or end what a killed process began, and delete its temporary files."""
    _settle(place)
    _clear_folder(place, [entry.name for entry in place.iterdir()])
    for name in CONTENTS:
        for folder, below, files in os.walk(place / name):
            _clear_folder(Path(folder), [*below, *files])
            below[:] = [name for name in below if not is_temporary(name)]


def _clear_folder(folder: Path, names: list[str]) -> None:
    for name in filter(is_temporary, names):
        restore_swapped(folder / name)
        _delete(folder / name)


def _is_complete(place: Path) -> bool:
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.get("status") == "complete"


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
