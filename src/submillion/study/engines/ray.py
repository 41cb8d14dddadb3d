"""Trains the runs of a study on a Ray cluster: the one that is there, or one that is started on this machine."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from submillion.errors import BadInput, Problem
from submillion.study.engines import Ended, Job, environment

TICK_S = 1.0
THREADS = 2


class RayEngine:
    """Each job is a task with declared cores; one that dies with its node is given to another.

    All nodes must see the study's directory, the data and the encoder under the same paths.
    """

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        """Connect.

        Args:
            workers: jobs at a time; None is as many as the cluster has cores for.
            threads: cores of each job.

        Raises:
            BadInput: ray is not installed, or no node has as many cores.
        """
        try:
            import ray
        except ImportError as error:
            raise BadInput(
                Problem("--engine ray", "the package ray", "none", "pip install 'submillion[ray]'")
            ) from error
        self._ray = ray
        if not ray.is_initialized():
            # An address is taken from RAY_ADDRESS or a cluster on this machine; without one, one is started.
            try:
                ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
            except ConnectionError:
                ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        most = max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=0)
        self.threads = min(threads or THREADS, most) if threads is None else threads
        if not 0 < self.threads <= most:
            raise BadInput(Problem("--threads", f"1 to {most}, the cores of the largest node", str(threads)))
        self.workers = workers

    def run(self, jobs: Sequence[Job], tick: Callable[[list[Job]], None]) -> Iterator[Ended]:
        """Train all, as `Engine.run` says."""
        ray = self._ray
        # A task whose node or worker dies is begun again elsewhere, and goes on where its run stands.
        remote: Any = ray.remote(num_cpus=self.threads, max_retries=-1)(_train)
        waiting, running = list(jobs), dict[Any, Job]()
        try:
            while waiting or running:
                while waiting and (self.workers is None or len(running) < self.workers):
                    job = waiting.pop(0)
                    running[remote.options(name=job.name).remote(job, self.threads)] = job
                tick(list(running.values()))
                ended, _ = ray.wait(list(running), num_returns=1, timeout=TICK_S)
                for reference in ended:
                    yield Ended(running.pop(reference), int(ray.get(reference)))
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _train(job: Job, threads: int) -> int:
    """Train one job on the node where this runs; returns its exit code."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open(job.log, "ab") as log:
        process = subprocess.Popen(
            job.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(threads),
        )
        while process.poll() is None:
            time.sleep(0.2)
    return process.returncode
