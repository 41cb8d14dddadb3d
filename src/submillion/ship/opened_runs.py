"""Runs that are opened once in a process, whoever asks."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.model.inference import open_for_answers
from submillion.model.precisions import AUTO
from submillion.model.trained import OpenedRun
from submillion.rundir import RunDir

# By place and precision, with the state of the manifest and the notices of the opening.
_opened: dict[tuple[Path, str], tuple[tuple[int, int], OpenedRun, list[dict[str, Any]]]] = {}
_opening = threading.Lock()


def opened_once(path: str | Path, precision: str = AUTO) -> OpenedRun:
    """Return the classifier of a run; it is loaded by the first call in this process, and again if the run has changed.

    Every call gives the notices of the opening, such as the number format.

    Args:
        path: of the run.
        precision: as in `open_for_answers`.

    Raises:
        BadInput: as `open_for_answers`.
    """
    run = RunDir.open(path)
    key = run.path.resolve(), precision
    with _opening:
        stat = run.manifest.stat()
        state = stat.st_mtime_ns, stat.st_ino  # every training writes a new manifest
        if key not in _opened or _opened[key][0] != state:
            with notices.collecting(quiet=True):
                opened = open_for_answers(run, precision)
                _opened[key] = state, opened, notices.collected()
        _, opened, said = _opened[key]
    notices.repeat(said)
    return opened
