"""Trains the runs of a study on a Ray cluster: the one that is there, or one that is started on this machine."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from submillion.errors import BadInput, Problem
from submillion.study.engines import Ended, Job, environment

TICK_S = 1.0
THREADS = 2
STOPPING_S = 60.0  # after which a job that was asked to end is killed
AGAIN_S = 15.0  # until a task that goes on is asked again
PACKAGES = Path(__file__).parents[3]  # where workers find this package, if the driver runs from a source tree


class RayEngine:
    """Each job is a task with declared cores; one that dies with its node is given to another.

    All nodes must see this package, the study's directory, the data and the encoder under the same paths.
    """

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        """Connect: to the cluster that RAY_ADDRESS names or that runs on this machine, else to one started here.

        Args:
            workers: jobs at a time; None is as many as the cluster has cores for.
            threads: cores of each job; None is 2, or 1 where no node has 2.

        Raises:
            BadInput: ray is not installed, the cluster that was named is not there, or no node has as many cores.
        """
        try:
            import ray
        except ImportError as error:
            raise BadInput(
                Problem("--engine ray", "the package ray", "none", "pip install 'submillion[ray]'")
            ) from error
        self._ray = ray
        if not ray.is_initialized():
            _connect(ray)
        most = max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=0)
        self.threads = min(THREADS, most) if threads is None else threads
        if not 0 < self.threads <= most:
            raise BadInput(
                Problem("--threads", f"1 to {most}, the cores of the largest node", str(self.threads))
            )
        self.workers = workers

    def run(self, jobs: Sequence[Job], tick: Callable[[list[Job]], None]) -> Iterator[Ended]:
        """Train all, as `Engine.run` says; when it is closed early, the processes under way are ended.

        What `tick` is told are the jobs that were handed to the cluster; those for which it has no core yet wait there.
        """
        ray = self._ray
        # A task whose node or worker dies is begun again elsewhere, and goes on where its run stands.
        options = {
            "num_cpus": self.threads,
            "max_retries": -1,
            "runtime_env": {"env_vars": {"PYTHONPATH": _paths()}},
        }
        remote: Any = ray.remote(**options)(_train)
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
            self._stop(list(running))

    def _stop(self, running: list[Any]) -> None:
        """End tasks: each is interrupted and ends its process, and is killed where that takes too long."""
        ray = self._ray
        left, deadline = running, time.monotonic() + STOPPING_S
        while left and time.monotonic() < deadline:
            for reference in left:
                ray.cancel(reference)  # a wish: on a busy machine it may pass unheard
            _, left = ray.wait(left, num_returns=len(left), timeout=AGAIN_S)
        for reference in left:
            ray.cancel(reference, force=True)


def _paths() -> str:
    """Return where Python finds modules on every node: this package, and what is set here."""
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join([str(PACKAGES), *map(os.path.abspath, given)])


def _connect(ray: Any) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(address="auto", **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address:
            found = " ".join(str(error).split())
            raise BadInput(
                Problem("RAY_ADDRESS", "the address of a cluster", f"'{address}' ({found})")
            ) from error
        ray.init(include_dashboard=False, **quiet)


def _train(job: Job, threads: int) -> int:
    """Train one job on the node where this runs; returns its exit code."""
    # What was started in the background ignores SIGINT, and so would this: Ray's wish to end would pass unheard.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open(job.log, "ab") as log:
        process = subprocess.Popen(
            job.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(threads),
        )
    try:
        while process.poll() is None:
            time.sleep(0.2)
    finally:
        if process.poll() is None:  # the task was cancelled
            process.terminate()
        while process.poll() is None:
            with suppress(KeyboardInterrupt):  # it was cancelled again
                process.wait()
    return process.returncode
