"""Runs the jobs of a study on a Ray cluster: an existing one, or one started on this machine."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from submillion.errors import BadInput, Problem
from submillion.ray_cluster import THREADS, connected, cores_of_largest_node, python_path
from submillion.study.engines.job import FinishedJob, Job, job_environment

TICK_S = 1.0
CANCEL_TIMEOUT_S = 60.0  # after which a cancelled task is killed
CANCEL_RETRY_S = 15.0  # after which a task that is still running is cancelled again


class RayEngine:
    """Each job is a Ray task with declared cores; if its node dies, another node repeats it.

    All nodes must see this package, the study's directory, the data and the encoder under the same paths.
    """

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        """Connect to the cluster of RAY_ADDRESS or one on this machine; start one if there is none.

        Args:
            workers: jobs at a time; None is as many as the cluster has cores for.
            threads: cores of each job; None is 2, or 1 if no node has 2.

        Raises:
            BadInput: ray is not installed, no cluster answers at RAY_ADDRESS, or no node has enough cores.
        """
        self._ray = connected()
        max_cores = cores_of_largest_node(self._ray)
        self.threads = min(THREADS, max_cores) if threads is None else threads
        if not 0 < self.threads <= max_cores:
            expected = f"1 to {max_cores}, the cores of the largest node"
            raise BadInput(Problem("@{threads}", expected, str(self.threads)))
        self.workers = workers

    def run(self, jobs: Sequence[Job], tick: Callable[[list[Job]], None]) -> Iterator[FinishedJob]:
        """Run all jobs as `Engine.run` documents; closing the iterator early terminates the running processes.

        `tick` receives the jobs that were submitted to the cluster; some may still wait there for a free core.
        """
        ray = self._ray
        # If a task's node or worker dies, Ray repeats the task elsewhere; it continues from the run's last checkpoint.
        options = {
            "num_cpus": self.threads,
            "max_retries": -1,
            "runtime_env": {"env_vars": {"PYTHONPATH": python_path()}},
        }
        remote: Any = ray.remote(**options)(_run_job)
        waiting, running = list(jobs), dict[Any, Job]()
        try:
            while waiting or running:
                while waiting and (self.workers is None or len(running) < self.workers):
                    job = waiting.pop(0)
                    running[remote.options(name=job.name).remote(job, self.threads)] = job
                tick(list(running.values()))
                ended, _ = ray.wait(list(running), num_returns=1, timeout=TICK_S)
                for reference in ended:
                    yield FinishedJob(running.pop(reference), int(ray.get(reference)))
        finally:
            self._stop(list(running))

    def _stop(self, running: list[Any]) -> None:
        """Cancel tasks, which terminate their processes; kill those that take too long."""
        ray = self._ray
        left, deadline = running, time.monotonic() + CANCEL_TIMEOUT_S
        while left and time.monotonic() < deadline:
            for reference in left:
                ray.cancel(reference)  # only a request: a busy machine may miss it
            _, left = ray.wait(left, num_returns=len(left), timeout=CANCEL_RETRY_S)
        for reference in left:
            ray.cancel(reference, force=True)


def _run_job(job: Job, threads: int) -> int:
    """Run one job on the node of this task; returns its exit code."""
    # Processes started in the background ignore SIGINT; without this they would miss Ray's request to stop.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        process = subprocess.Popen(
            job.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=job_environment(threads),
        )
    try:
        while process.poll() is None:
            time.sleep(0.2)
    finally:
        if process.poll() is None:  # the task was cancelled
            process.terminate()
        while process.poll() is None:
            with suppress(KeyboardInterrupt):  # the task was cancelled again
                process.wait()
    return process.returncode
