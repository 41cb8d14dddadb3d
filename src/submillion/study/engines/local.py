"""Trains the runs of a study on this machine, as many at a time as its cores and its memory hold."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence

import psutil

from submillion.study.engines import Ended, Job, environment

TICK_S = 1.0
THREADS = 4  # of a job where there are more cores: a small batch hardly keeps more of them busy
ROOM = 1.25  # free memory that another job needs, in peaks of the largest one so far


class LocalEngine:
    """Processes on this machine; all share its caches of data, tokens and frozen layers."""

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        """Settle how many jobs of how many threads; None: every core is used once."""
        cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else 0
        cores = cores or psutil.cpu_count() or 1
        self.threads = threads or (max(1, cores // workers) if workers else min(cores, THREADS))
        self.workers = workers or max(1, cores // self.threads)
        self._peak = 0.0  # bytes of the largest job that ended

    def run(self, jobs: Sequence[Job], tick: Callable[[list[Job]], None]) -> Iterator[Ended]:
        """Train all, as `Engine.run` says; when it is closed early, the processes under way are ended."""
        waiting, running = list(jobs), dict[Job, subprocess.Popen[bytes]]()
        try:
            while waiting or running:
                while waiting and len(running) < self.workers and self._has_room(len(running)):
                    job = waiting.pop(0)
                    running[job] = self._start(job)
                tick(list(running))
                ended = [job for job, process in running.items() if process.poll() is not None]
                for job in ended:
                    code = running.pop(job).returncode
                    self._learn(job)
                    yield Ended(job, code)
                if not ended:
                    time.sleep(TICK_S)
        finally:
            for process in running.values():
                process.terminate()  # as Ctrl-C: the run writes where it stands
            for process in running.values():
                process.wait()

    def _start(self, job: Job) -> subprocess.Popen[bytes]:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with open(job.log, "ab") as log:
            return subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(self.threads),
            )

    def _has_room(self, running: int) -> bool:
        """Return whether another job's memory is free; until one has ended, nobody knows what a job takes."""
        if not running:
            return True
        return bool(self._peak) and psutil.virtual_memory().available > ROOM * self._peak

    def _learn(self, job: Job) -> None:
        file = job.run / "manifest.json"
        if file.is_file():
            training = json.loads(file.read_text(encoding="utf-8")).get("training") or {}
            self._peak = max(self._peak, 1e6 * (training.get("peak_memory_mb") or 0))
