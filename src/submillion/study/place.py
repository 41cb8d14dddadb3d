"""Checks the directory of a study before anything is written: a study replaces files of its own names only."""

from __future__ import annotations

import os
from pathlib import Path

from submillion.errors import BadInput, Problem
from submillion.files.atomic import why_not_created
from submillion.run_layout import MANIFEST

LOCK = ".lock"
FOLDERS = ("recipes", "logs", "runs")
REPLACED = (
    *("figures", "report.html", "study.json", "study.yaml", "table.csv", "table.md", "table.parquet"),
    *("search.db", "logs", "recipes"),
)
"""What a study writes, except for its runs."""


def check_place(out: str | Path) -> Path:
    """Return the directory of a study; nothing is written.

    Raises:
        BadInput: a file, a folder that cannot be made or written, a run, or a folder that is no study's and holds files
            that a study would replace, such as the study file itself.
    """
    folder = Path(out)
    try:
        folder.resolve()  # refuses what no path can have
        present = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
        reason = None if folder.exists() else why_not_created(folder.absolute())
    except NotADirectoryError:
        raise _refused(f"'{out}', a file") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise _refused(f"'{out}': {error}") from error
    if reason is not None:
        raise _refused(f"'{out}': {reason}")
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        raise _refused(f"'{out}', which is not writable for this user")
    if MANIFEST in present:
        raise _refused(f"'{out}', a run")
    is_study = LOCK in present or present.issuperset(FOLDERS)
    if not is_study and (files := sorted(present.intersection(REPLACED))):
        raise _refused(f"'{out}', whose {', '.join(files[:4])} a study would replace")
    return folder


def _refused(found: str) -> BadInput:
    return BadInput(Problem("@{out}", "a new folder, or that of a study", found, "Name another one."))
