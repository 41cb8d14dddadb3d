"""Where the runs of a study are trained, each in a process of its own: on this machine, or on a cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ENGINES = ("local", "ray")
PARENT = "SUBMILLION_STUDY_PROCESS"
"""Environment variable that tells a job's process which process started it."""


@dataclass(frozen=True)
class Job:
    """One run that is to be trained."""

    name: str
    recipe: Path | None
    """The recipe's file; None for a run that is trained, and now is to be scored on test."""
    run: Path
    """The run directory."""
    log: Path
    """What its process prints."""

    @property
    def command(self) -> list[str]:
        """The command that does it."""
        recipe = [] if self.recipe is None else [str(self.recipe)]
        return [sys.executable, "-m", "submillion.study.worker", str(self.run), *recipe]


@dataclass(frozen=True)
class Ended:
    """A job whose process ended."""

    job: Job
    code: int
    """0: trained; else the exit code, negative for a signal."""


class Engine(Protocol):
    """Trains jobs, several at a time where there is room."""

    def run(self, jobs: Sequence[Job], tick: Callable[[list[Job]], None]) -> Iterator[Ended]:
        """Train all; give each one as it ends.

        Args:
            tick: called about once a second with the jobs that are being trained.
        """
        ...


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a process that this one starts for a job."""
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        PARENT: str(os.getpid()),
    }


def open_engine(name: str, workers: int | None, threads: int | None) -> Engine:
    """Return an engine by its name.

    Args:
        name: one of ENGINES.
        workers: jobs at a time; None lets the engine choose.
        threads: of each job; None lets the engine choose.
    """
    if name == "ray":
        from submillion.study.engines.ray import RayEngine

        return RayEngine(workers, threads)
    from submillion.study.engines.local import LocalEngine

    return LocalEngine(workers, threads)
