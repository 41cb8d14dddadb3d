"""Types of the engines: jobs, their results, and the protocol that every engine implements."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PARENT_PID = "SUBMILLION_STUDY_PROCESS"
"""Environment variable with the id of the process that started a job's process."""


@dataclass(frozen=True)
class Job:
    """One run to train, or a trained run to score on test; done in a process of its own."""

    name: str
    recipe: Path | None
    """The recipe file; None for a trained run that is to be scored on test."""
    run: Path
    """The run directory."""
    log: Path
    """Receives the output of the process."""

    @property
    def command(self) -> list[str]:
        """The command of the process."""
        recipe = [] if self.recipe is None else [str(self.recipe)]
        return [sys.executable, "-m", "submillion.study.worker", str(self.run), *recipe]


@dataclass(frozen=True)
class FinishedJob:
    """A job whose process has ended."""

    job: Job
    exit_code: int
    """0 on success; otherwise the exit code, negative for a signal."""


class Engine(Protocol):
    """Runs jobs, several at a time if there are enough resources."""

    def run(self, jobs: Sequence[Job], tick: Callable[[list[Job]], None]) -> Iterator[FinishedJob]:
        """Run all jobs and yield each one when it ends.

        Args:
            jobs: in the order in which they are started.
            tick: called about once per second with the running jobs.
        """
        ...


def job_environment(threads: int) -> dict[str, str]:
    """Return the environment of a job's process that is started by this process.

    Args:
        threads: of the job.
    """
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        PARENT_PID: str(os.getpid()),
    }
