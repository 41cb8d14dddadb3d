"""Whole studies of a tiny encoder: the files they are of, one that nothing disturbed, and one that is killed."""

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
RECORDS = 12  # of the 20 that a trial writes into its history
LONGEST_S = 600.0  # that anything is waited for
TRIAL = "submillion.study.worker"


@dataclass(frozen=True)
class Undisturbed:
    """A study of the shared house that was trained in one go; not to be changed."""

    place: Path
    seconds: float
    """Processor seconds that one of its processes took, about."""


@cache
def undisturbed() -> Undisturbed:
    """Return the study rates.yaml with test rows, which all tests of this process share."""
    house = shared_project()
    before = os.times()
    outcome = study(house / "rates.yaml", house / "done", overrides=with_test(), quiet=True)
    after = os.times()
    assert not outcome.failed
    seconds = sum(after[2:4]) - sum(before[2:4])  # of processes that ended
    return Undisturbed(outcome.path, seconds / (len(RATES) + 1))


def with_test() -> list[str]:
    """Return what is set for a study that has test rows."""
    return [f"data.test={shared_project() / 'test.csv'}"]


def findings(place: Path) -> dict[str, Any]:
    """Return what a study found on validation rows, without what time and memory it took."""
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
) -> list[Path]:
    """Conduct rates.yaml in a process that is begun again until the study is whole, while processes are killed.

    A kill comes when the trial that is furthest has used a drawn part of the processor seconds that a trial takes,
    or has written a drawn number of records: what is hit does not depend on what else the machine does.

    Args:
        kinds: what is killed, in this order: the "driver", a "trial", or the "node" on which a trial is.
        seed: of the points at which it is killed.
        options: of `submillion study`.
        lose_node: kills the node on which a process is.

    Returns:
        Where the studies are that came to their end; one, unless it was whole before all kills were done.
    """
    drawn, left, ended = random.Random(seed), list(kinds), list[Path]()
    point = _Point(drawn)
    for number in itertools.count():
        place, struck = folder / f"killed-{len(ended)}", set[str]()
        log = folder / f"driver-{number}.txt"
        driver = _begin(place, options, log)
        try:
            while left and (trial := point.reached(driver, place)) is not None:
                kind = left.pop(0)
                struck.add(kind)
                _strike(kind, driver, trial, place, lose_node)
                point = _Point(drawn)
            code = driver.wait(LONGEST_S)
        finally:
            driver.kill()
            driver.wait()
        # A killed trial is told as failed, and trained when the study is begun again; a lost node is not even told.
        assert code == 0 or struck & {"driver", "trial"}, log.read_text(encoding="utf-8")
        if code == 0:
            ended.append(place)
            if not left:
                return ended
    raise AssertionError


class _Point:
    """A point in the life of a trial."""

    def __init__(self, drawn: random.Random) -> None:
        self._seconds = drawn.random() ** 2 * undisturbed().seconds
        # A third of the kills come while it trains: most of so small a trial is the start of its process.
        self._records = drawn.randint(1, RECORDS) if drawn.random() < 1 / 3 else None
        self._had: dict[int, int] = {}

    def reached(self, driver: subprocess.Popen[bytes], place: Path) -> psutil.Process | None:
        """Wait until a trial is there, and return its process; None where the driver ends before."""
        deadline = time.monotonic() + LONGEST_S
        while driver.poll() is None:
            assert time.monotonic() < deadline, "nothing goes on"
            for trial in trials_at(place):
                with suppress(psutil.NoSuchProcess):
                    if self._is_there(trial):
                        return trial
            time.sleep(0.05)
        return None

    def _is_there(self, trial: psutil.Process) -> bool:
        if self._records is None:
            used = trial.cpu_times()
            return bool(used.user + used.system >= self._seconds)
        command = trial.cmdline()
        history = Path(command[command.index(TRIAL) + 1]) / "history.jsonl" if TRIAL in command else None
        written = history.read_bytes().count(b"\n") if history and history.is_file() else 0
        return written - self._had.setdefault(trial.pid, written) >= self._records


def trials_at(place: Path) -> list[psutil.Process]:
    """Return the processes that are at work on runs of a study."""
    runs, found = f"{place / 'runs'}{os.sep}", []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if TRIAL in command and any(word.startswith(runs) for word in command):
            found.append(process)
    return found


def is_gone(pid: int, seconds: float = 60) -> bool:
    """Return whether a process ends within some seconds; one that nobody waits for is gone too."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def _begin(place: Path, options: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    study_file = str(shared_project() / "rates.yaml")
    command = [sys.executable, "-m", "submillion.cli", "study", study_file, "--out", str(place), "--quiet"]
    with open(log, "wb") as output:
        return subprocess.Popen([*command, *options], stdout=output, stderr=output)


def _strike(
    kind: str,
    driver: subprocess.Popen[bytes],
    trial: psutil.Process,
    place: Path,
    lose_node: Callable[[psutil.Process], None] | None,
) -> None:
    gone = [trial]
    with suppress(psutil.NoSuchProcess):
        if kind == "driver":
            gone = trials_at(place)
            driver.kill()
            driver.wait()
        elif kind == "node":
            assert lose_node is not None
            lose_node(trial)
        else:
            trial.kill()
    assert all(is_gone(process.pid) for process in gone), f"a trial outlived its {kind}"
