"""Processes of whole studies of the tiny project: the driver, its workers, and what the study finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from support.tiny_project import shared_project

COSTS = ("wall_seconds", "samples_per_second", "peak_memory_mb")
TIMEOUT_S = 600.0
WORKER = "submillion.study.worker"


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


@contextmanager
def driver(study_file: Path, place: Path, options: Sequence[str], log: Path) -> Iterator[psutil.Process]:
    """Run a study in a process inside the block, which is killed at its end."""
    command = [
        sys.executable,
        "-m",
        "submillion.cli",
        "study",
        str(study_file),
        "--out",
        str(place),
        "--quiet",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *options], stdout=output, stderr=output)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def first_worker(process: psutil.Process, place: Path, log: Path) -> psutil.Process:
    """Wait until the driver of a study has started a worker."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := workers_of(place)):
        assert process.is_running() and process.status() != psutil.STATUS_ZOMBIE, log.read_text("utf-8")
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.05)
    return found[0]


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
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return True
    return False
