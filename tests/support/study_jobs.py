"""Study jobs that run a script in place of a training."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from submillion.study.engines.job import Job


@dataclass(frozen=True)
class Script(Job):
    """A job that runs a script in place of a training."""

    script: str = ""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", self.script]


def jobs(folder: Path, scripts: list[str]) -> list[Job]:
    return [
        Script(f"job{number}", None, folder / f"run{number}", folder / "logs" / f"job{number}.txt", script)
        for number, script in enumerate(scripts)
    ]
