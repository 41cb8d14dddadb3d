"""What a method receives and returns."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from submillion.files.atomic import write_json


@dataclass(frozen=True)
class Task:
    """Training rows and unlabelled test texts; no method sees a test label."""

    set: str
    texts: list[str]
    labels: list[int]
    classes: tuple[str, ...]
    test_texts: list[str]
    train_places: list[int]
    """Places of the training rows in the set, which name their cached features."""
    test_places: list[int]
    seed: int
    size: str
    scratch: Path | None = None
    """Folder of the cell that outlives a kill; None if the cell then starts anew."""


@dataclass(frozen=True)
class Answer:
    """A method's classes for the test texts, and what they cost."""

    predicted: list[int]
    train_s: float
    predict_s: float
    train_cpu_s: float
    predict_cpu_s: float
    parameters: int
    """Trained parameters, output layer included."""
    setting: str = ""
    """What was chosen on the training rows, or documented elsewhere."""


@dataclass
class Clock:
    """Seconds of wall-clock and processor time of a block."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def timed() -> Iterator[Clock]:
    """Measure a block; processor time is that of all threads of this process."""
    clock = Clock()
    wall, cpu = time.perf_counter(), time.process_time()
    yield clock
    clock.wall, clock.cpu = time.perf_counter() - wall, time.process_time() - cpu


@contextmanager
def timed_across_kills(file: Path, every: float = 10.0) -> Iterator[Clock]:
    """Measure a block that may be killed and run again; the clock has the seconds of all attempts.

    Args:
        file: keeps the seconds so far.
        every: seconds between two writes, so that a kill loses no more.
    """
    before = Clock(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else Clock()
    wall, cpu = time.perf_counter(), time.process_time()
    ended = threading.Event()

    def so_far() -> Clock:
        return Clock(before.wall + time.perf_counter() - wall, before.cpu + time.process_time() - cpu)

    def keep() -> None:
        while not ended.wait(every):
            write_json(file, asdict(so_far()))

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    clock = Clock()
    try:
        yield clock
    finally:
        ended.set()
        keeper.join()
        final = so_far()
        clock.wall, clock.cpu = final.wall, final.cpu
