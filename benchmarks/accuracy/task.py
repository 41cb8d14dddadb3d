"""What a method receives and returns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


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
