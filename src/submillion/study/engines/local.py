"""Runs the jobs of a study on this machine, as many at a time as fit its cores and memory."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence

from submillion.limits import memory, processors
from submillion.rundir import RunDir
from submillion.study.engines.job import FinishedJob, Job, job_environment

TICK_S = 1.0
THREADS = 4  # of a job if there are more cores: a small batch hardly uses more
MEMORY_MARGIN = 1.25  # free memory required for another job, relative to the largest peak so far


class LocalEngine:
    """Processes on this machine; they share its caches of data, tokens and frozen layers."""

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        """Set the number of jobs and their threads.

        Args:
            workers: jobs at a time; None uses every core once.
            threads: of each job; None uses every core once.
        """
        cores = processors().allowed
        self.threads = threads or (max(1, cores // workers) if workers else min(cores, THREADS))
        self.workers = workers or max(1, cores // self.threads)
        self._peak = 0.0  # bytes, of the largest job that has ended

    def run(self, jobs: Sequence[Job], tick: Callable[[list[Job]], None]) -> Iterator[FinishedJob]:
        """Run all jobs as `Engine.run` documents; closing the iterator early terminates the running processes."""
        waiting, running = list(jobs), dict[Job, subprocess.Popen[bytes]]()
        try:
            while waiting or running:
                while waiting and len(running) < self.workers and self._has_memory(len(running)):
                    job = waiting.pop(0)
                    running[job] = self._start(job)
                tick(list(running))
                ended = [job for job, process in running.items() if process.poll() is not None]
                for job in ended:
                    exit_code = running.pop(job).returncode
                    self._record_peak(job)
                    yield FinishedJob(job, exit_code)
                if not ended:
                    time.sleep(TICK_S)
        finally:
            for process in running.values():
                process.terminate()  # like Ctrl-C: the run writes a checkpoint
            for process in running.values():
                process.wait()

    def _start(self, job: Job) -> subprocess.Popen[bytes]:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            return subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=job_environment(self.threads),
            )

    def _has_memory(self, running: int) -> bool:
        """Return whether there is memory for another job; the need of a job is unknown until the first has ended."""
        if not running:
            return True
        return bool(self._peak) and memory().available > MEMORY_MARGIN * self._peak

    def _record_peak(self, job: Job) -> None:
        run = RunDir(job.run)
        if run.manifest.is_file():
            training = run.read_manifest().get("training") or {}
            self._peak = max(self._peak, 1e6 * (training.get("peak_memory_mb") or 0))
