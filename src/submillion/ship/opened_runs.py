"""Runs that are opened once in a process, whoever asks."""

from __future__ import annotations

import threading
from pathlib import Path

from submillion.model.inference import open_for_answers
from submillion.model.precisions import AUTO
from submillion.model.trained import OpenedRun
from submillion.rundir import RunDir

# By place and precision, with the state of the manifest.
_opened: dict[tuple[Path, str], tuple[tuple[int, int], OpenedRun]] = {}
_opening = threading.Lock()


def opened_once(path: str | Path, precision: str = AUTO) -> OpenedRun:
    """Return the classifier of a run; it is loaded by the first call in this process, and again if the run has changed.

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
            _opened[key] = state, open_for_answers(run, precision)
        return _opened[key][1]
