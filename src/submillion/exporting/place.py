"""The folder of an export: a new one, an empty one, or an earlier export that may be replaced."""

from __future__ import annotations

from pathlib import Path

from submillion.errors import BadInput, Problem
from submillion.exporting.folder import files_of
from submillion.files.atomic import why_not_created
from submillion.files.desktop import DESKTOP_FILES
from submillion.run_format.export import EXPORT
from submillion.run_layout import CONTENTS

UNCHANGED = "Name another folder; the files in this one are unchanged."


def check_place(out: str | Path, overwrite: bool, run: Path) -> Path:
    """Return the folder to make, links followed; nothing is written.

    Args:
        out: as the user names it.
        overwrite: whether an earlier export may be replaced.
        run: the directory of the run that is exported.

    Raises:
        BadInput: no path, a file, a folder that holds something else than an export, an export without `overwrite` or
            beside files that it did not write, a place among the files of the run, or one that cannot be written.
    """
    if not isinstance(out, str | Path):
        raise BadInput(Problem("@{out}", "the path of a folder", repr(out)))
    try:
        target = Path(out).expanduser().resolve()
        present = {entry.name for entry in target.iterdir()} if target.exists() else set()
    except (OSError, RuntimeError, ValueError) as error:  # a file, a circle of links, a name that is too long
        raise _refused(f"'{out}': {error}") from error
    contents = sorted(present - DESKTOP_FILES)
    for name in CONTENTS:
        if target.is_relative_to(run.resolve() / name):
            raise _refused(f"'{out}', among the run's own files")
    if contents and EXPORT not in contents:
        raise _refused(f"'{out}', which holds {', '.join(contents[:4])}")
    if contents and not overwrite:
        remedy = "Name a new folder, or replace this export with @{overwrite}."
        raise BadInput(Problem("@{out}", "a folder that does not exist yet", f"'{out}', an export", remedy))
    if contents:
        _check_replaceable(target)
    if (reason := why_not_created(target)) is not None:
        raise _refused(f"'{out}': {reason}")
    return target


def _check_replaceable(target: Path) -> None:
    """Refuse to replace what no export has written: replacing a folder deletes all of it.

    Raises:
        BadInput: the record is that of another program, or the folder holds files that it does not name.
    """
    own = files_of(target)
    if own is None:
        found = f"'{target / EXPORT}', which `export` did not write"
        raise BadInput(Problem("@{out}", "an export to replace", found, UNCHANGED))
    files = [path for path in target.rglob("*") if path.is_symlink() or not path.is_dir()]
    present = {file.relative_to(target).as_posix() for file in files if file.name not in DESKTOP_FILES}
    if foreign := sorted(present - own):
        found = f"'{target}', which also holds {', '.join(foreign[:4])}"
        raise BadInput(Problem("@{out}", "an export with no other files in it, to replace", found, UNCHANGED))


def _refused(found: str) -> BadInput:
    return BadInput(Problem("@{out}", "a new or empty folder", found, "Name another one."))
