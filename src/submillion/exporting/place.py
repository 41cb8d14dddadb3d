"""The folder of an export: a new one, an empty one, or an earlier export that may be replaced."""

from __future__ import annotations

import os
from pathlib import Path

from submillion.errors import BadInput, Problem
from submillion.files.atomic import nearest_folder
from submillion.run_format.export import EXPORT


def check_place(out: Path, overwrite: bool) -> Path:
    """Return the folder to make, links followed; nothing is written.

    Args:
        out: as the user names it.
        overwrite: whether an earlier export may be replaced.

    Raises:
        BadInput: a file, a folder that holds something else than an export, an export without `overwrite`, or a place
            that cannot be written.
    """
    try:
        target = out.expanduser().resolve()
        contents = sorted(entry.name for entry in target.iterdir()) if target.exists() else []
    except (OSError, RuntimeError, ValueError) as error:  # a file, a circle of links, a name that is too long
        raise _refused(f"'{out}': {error}") from error
    if contents and EXPORT not in contents:
        raise _refused(f"'{out}', which holds {', '.join(contents[:4])}")
    if contents and not overwrite:
        remedy = "Name a new folder, or replace this export with @{overwrite}."
        raise BadInput(Problem("@{out}", "a folder that does not exist yet", f"'{out}', an export", remedy))
    above = nearest_folder(target.parent)
    if not os.access(above, os.W_OK | os.X_OK):
        raise _refused(f"'{out}': {above} is not writable for this user")
    return target


def _refused(found: str) -> BadInput:
    return BadInput(Problem("@{out}", "a new or empty folder", found, "Name another one."))
