"""Whole studies of a tiny encoder: their files, an undisturbed study, and studies that are killed."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from submillion.study.run import study
from support.tiny_project import RATES, shared_project

COSTS = ("wall_seconds", "samples_per_second", "peak_memory_mb")
RECORDS = 12  # of the 20 that a run writes into its history
TIMEOUT_S = 600.0
WORKER = "submillion.study.worker"


@dataclass(frozen=True)
class Undisturbed:
    """A study of the shared project that was trained without interruption; do not modify it."""

    place: Path
    seconds: float
    """Approximate CPU seconds of one of its processes."""


@cache
def undisturbed(test: bool = True) -> Undisturbed:
    """Return the study rates.yaml, with a test split or without; all tests of this process share it."""
    project = shared_project()
    before = os.times()
    out, overrides = project / f"done-{test}", with_test() if test else []
    outcome = study(project / "rates.yaml", out, overrides=overrides, quiet=True)
    after = os.times()
    assert not outcome.failed
    seconds = sum(after[2:4]) - sum(before[2:4])  # of processes that ended
    return Undisturbed(outcome.path, seconds / (len(RATES) + test))


def with_test() -> list[str]:
    """Return the overrides for a study with a test split."""
    return [f"data.test={shared_project() / 'test.csv'}"]


def findings(place: Path) -> dict[str, Any]:
    """Return the findings of a study on validation, without its time and memory."""
    found: dict[str, Any] = json.loads((place / "study.json").read_text(encoding="utf-8"))
    for cell in found["cells"]:
        for cost in COSTS:
            del cell[cost]
    del found["pareto"]["wall_seconds"]
    return {name: value for name, value in found.items() if name not in ("test", "test_effect")}


def killed(
    folder: Path,
    kinds: Sequence[str],
    seed: int,
    options: Sequence[str] = (),
    lose_node: Callable[[psutil.Process], None] | None = None,
    seconds: float | None = None,
) -> list[Path]:
    """Run rates.yaml in a process that is restarted until the study is complete, while processes are killed.

    A process is killed when a worker has used a random share of the CPU seconds of a run, or has written a random
    number of records, so the point of the kill does not depend on the load of the machine.

    Args:
        folder: receives the studies.
        kinds: what to kill, in this order: the "driver", a "worker", or the "node" of a worker.
        seed: of the random points.
        options: of `submillion study`.
        lose_node: kills the node of a process.
        seconds: approximate CPU seconds of a run; None takes those of `undisturbed`.

    Returns:
        The directories of the complete studies; one, unless it was complete before the last kill.
    """
    drawn, left, ended = random.Random(seed), list(kinds), list[Path]()
    seconds = undisturbed().seconds if seconds is None else seconds
    point = _Point(drawn, seconds)
    for number in itertools.count():
        place, struck = folder / f"killed-{len(ended)}", set[str]()
        log = folder / f"driver-{number}.txt"
        driver = _start_driver(place, options, log)
        try:
            while left and (worker := point.reached(driver, place)) is not None:
                kind = left.pop(0)
                struck.add(kind)
                _kill(kind, driver, worker, place, lose_node)
                point = _Point(drawn, seconds)
            code = driver.wait(TIMEOUT_S)
        finally:
            driver.kill()
            driver.wait()
        # A killed run is reported as failed and trained when the study is restarted; a lost node is not reported.
        assert code == 0 or struck & {"driver", "worker"}, log.read_text(encoding="utf-8")
        if code == 0:
            ended.append(place)
            if not left:
                return ended
    raise AssertionError


class _Point:
    """A random point in the life of a worker."""

    def __init__(self, drawn: random.Random, seconds: float) -> None:
        self._seconds = drawn.random() ** 2 * seconds
        # A third of the kills hit the training: a tiny run spends most of its time starting the process.
        self._records = drawn.randint(1, RECORDS) if drawn.random() < 1 / 3 else None
        self._written_before: dict[int, int] = {}

    def reached(self, driver: subprocess.Popen[bytes], place: Path) -> psutil.Process | None:
        """Wait until a worker has reached the point and return its process; None if the driver ends before."""
        deadline = time.monotonic() + TIMEOUT_S
        while driver.poll() is None:
            assert time.monotonic() < deadline, "no progress"
            for worker in workers_of(place):
                with suppress(psutil.NoSuchProcess):
                    if self._is_reached(worker):
                        return worker
            time.sleep(0.05)
        return None

    def _is_reached(self, worker: psutil.Process) -> bool:
        if self._records is None:
            used = worker.cpu_times()
            return bool(used.user + used.system >= self._seconds)
        command = worker.cmdline()
        history = Path(command[command.index(WORKER) + 1]) / "history.jsonl" if WORKER in command else None
        written = history.read_bytes().count(b"\n") if history and history.is_file() else 0
        return written - self._written_before.setdefault(worker.pid, written) >= self._records


def workers_of(place: Path) -> list[psutil.Process]:
    """Return the worker processes of a study."""
    runs, found = f"{place / 'runs'}{os.sep}", []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if WORKER in command and any(word.startswith(runs) for word in command):
            found.append(process)
    return found


def is_gone(pid: int, seconds: float = 60) -> bool:
    """Return whether a process ends within some seconds; a zombie counts as ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def _start_driver(place: Path, options: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    study_file = str(shared_project() / "rates.yaml")
    command = [sys.executable, "-m", "submillion.cli", "study", study_file, "--out", str(place), "--quiet"]
    with log.open("wb") as output:
        return subprocess.Popen([*command, *options], stdout=output, stderr=output)


def _kill(
    kind: str,
    driver: subprocess.Popen[bytes],
    worker: psutil.Process,
    place: Path,
    lose_node: Callable[[psutil.Process], None] | None,
) -> None:
    killed = [worker]
    with suppress(psutil.NoSuchProcess):
        if kind == "driver":
            killed = workers_of(place)
            driver.kill()
            driver.wait()
        elif kind == "node":
            assert lose_node is not None
            lose_node(worker)
        else:
            worker.kill()
    assert all(is_gone(process.pid) for process in killed), f"a worker outlived its {kind}"
