"""One run of a study, in a process of its own: begun, or continued where it was killed.

python -m submillion.study.worker RUN RECIPE     train it, without looking at test rows
python -m submillion.study.worker RUN            score its test rows, and make its report
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from filelock import FileLock

from submillion import pipeline
from submillion.errors import SubmillionError
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.study.engines import PARENT

PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


def is_done(run: Path) -> bool:
    """Return whether a run is trained to its end."""
    manifest = RunDir(run).manifest
    return manifest.is_file() and RunDir(run).read_json(manifest).get("status") == "complete"


def work(run: Path, recipe: Path | None) -> None:
    """Train a run as a trial, or go on with it; without a recipe finish it. What is done already is not done again.

    Only one process at a time works on a run: a second one waits, then finds it complete.
    """
    run.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(run.parent / f".{run.name}.lock"):
        if recipe is None:
            pipeline.finish(run, quiet=True)
            return
        if is_done(run):
            return
        # A run that was killed before its first files were whole is begun anew.
        if RunDir(run).manifest.is_file() and RunDir(run).recipe.is_file():
            pipeline.resume(run, quiet=True, trial=True)
        else:
            pipeline.train(Recipe.load(recipe), run, overwrite=run.exists(), quiet=True, trial=True)


def main() -> int:
    """Do the work; return the exit code that the error has."""
    if sys.platform == "linux":
        # A study that is killed takes its trials along; else they would go on beside those of its next start.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
            return 1  # it was killed while this process started
    try:
        run, *recipe = map(Path, sys.argv[1:])
        work(run, recipe[0] if recipe else None)
    except SubmillionError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
