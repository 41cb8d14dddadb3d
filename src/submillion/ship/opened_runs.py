"""Runs that are opened once in a process, whoever asks."""

from __future__ import annotations

import threading
from pathlib import Path

from submillion.model.trained import OpenedRun, open_run_classifier
from submillion.rundir import RunDir

_opened: dict[Path, tuple[tuple[int, int], OpenedRun]] = {}  # with the state of the manifest
_opening = threading.Lock()


def opened_once(path: str | Path) -> OpenedRun:
    """Return the classifier of a run; it is loaded by the first call in this process, and again if the run has changed.

    Raises:
        BadInput: as `open_run_classifier`.
    """
    run = RunDir.open(path)
    place = run.path.resolve()
    with _opening:
        stat = run.manifest.stat()
        state = stat.st_mtime_ns, stat.st_ino  # every training writes a new manifest
        if place not in _opened or _opened[place][0] != state:
            _opened[place] = state, open_run_classifier(run)
        return _opened[place][1]
