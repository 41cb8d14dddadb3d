"""Runs one job of a study in a process of its own: trains a run, or continues it after an interruption.

python -m submillion.study.worker RUN RECIPE     train without scoring the test split
python -m submillion.study.worker RUN            score the test split and write the report
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from submillion import run_place
from submillion.errors import SubmillionError
from submillion.lean_imports import lean_imports
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.study.engines.job import PARENT_PID
from submillion.study.layout import is_trained

PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


def train_or_finish(run: Path, recipe: Path | None) -> None:
    """Train a run without its test split, or continue its training; without a recipe, finish it.

    Completed work is not repeated. Only one process at a time works on a run; another one waits, then finds it
    complete.
    """
    run.mkdir(parents=True, exist_ok=True)
    try:
        with run_place.held(run, wait=True):
            if recipe is None:
                # Loads scikit-learn and matplotlib, which a training needs only at its end.
                from submillion.scoring import finish  # noqa: PLC0415

                finish(run, quiet=True)
            elif is_trained(run):
                return
            else:
                _train(run, recipe)
    finally:
        with suppress(OSError):  # not empty, unless the recipe was refused
            run.rmdir()


def _train(run: Path, recipe: Path) -> None:
    # Loads torch and transformers.
    from submillion import pipeline  # noqa: PLC0415

    if RunDir(run).manifest.is_file():
        pipeline.resume(run, quiet=True, hold_back_test=True)
    else:  # new, or killed before its first files were complete
        pipeline.train(Recipe.load(recipe), run, overwrite=True, quiet=True, hold_back_test=True)


def main() -> int:
    """Run the job of the command line; returns the exit code."""
    if sys.platform == "linux":
        # Ends with the study: otherwise this run would compete with the processes of the restarted study.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.environ.get(PARENT_PID, str(os.getppid())) != str(os.getppid()):
            return 1  # the study was killed while this process started
    try:
        run, *recipe = map(Path, sys.argv[1:])
        with lean_imports():
            train_or_finish(run, recipe[0] if recipe else None)
    except SubmillionError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
