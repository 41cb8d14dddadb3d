"""A variant of a benchmark: its setting, its process, and one round of measurements."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pkgutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.isolated import ProcessFailed
from submillion.environment import peak_memory_mb

BASE = "usual"
"""The variant that others are compared with, unless they name another one."""


@dataclass(frozen=True)
class Setting:
    """Data, encoder and batches that all variants of a comparison share."""

    data: Path
    """Folder with AG News as csv."""
    encoder: Path
    """Folder with configuration, tokenizer and weights of an encoder."""
    batch_size: int = 32
    steps: int = 8
    """Batches per round."""
    max_length: int = 128
    lengths: tuple[int, int] | None = None
    """Shortest and longest text in tokens; each text is cut at a random length between them. None cuts none."""


@dataclass(frozen=True)
class Variant:
    """One way to do the work; only its own process imports it."""

    opener: str
    """`module:function`, called with the Setting and the options; returns Opened."""
    options: dict[str, Any] = field(default_factory=dict)
    base: str = BASE
    """The variant that this one is compared with."""
    encoder: str | None = None
    """Name of an encoder in the catalog, or of one in `encoders.SHAPES`; None uses the setting's."""


@dataclass(frozen=True)
class Opened:
    """A variant that is ready to run."""

    run_batch: Callable[[Sequence[int]], object]
    """Runs one batch of row indices."""
    batches: Sequence[Sequence[int]]
    """The batches of a round."""
    warm_up: Sequence[Sequence[int]]
    """Batches that run once before the first round; the last of them runs again before every round."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Further entries of the variant's row."""


@dataclass(frozen=True)
class Round:
    """The measurements of one round of one variant."""

    samples_per_s: float
    samples_per_cpu_s: float
    """Texts per second of CPU time of all threads; less affected by other programs."""
    peak_rss_mb: float
    """Peak memory of the process since its start, in MB of 10^6 bytes."""
    others: float
    """Share of the machine's processors that other programs used during the round."""


class Child:
    """The process of a variant; it sleeps between rounds."""

    def __init__(self, variant: Variant, setting: Setting) -> None:
        """Start the process, and return when the variant has warmed up."""
        # A forked process would start with this process's memory; a spawned one does not.
        context = multiprocessing.get_context("spawn")
        self._pipe, child_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_end, variant, setting), daemon=True)
        self._process.start()
        child_end.close()
        self.facts: dict[str, Any] = self._receive()

    def round(self) -> Round:
        """Run all batches once."""
        try:
            self._pipe.send(True)
        except BrokenPipeError:
            self._process.join()
            raise ProcessFailed(f"its process ended with {self._process.exitcode}") from None
        result: Round = self._receive()
        return result

    def close(self) -> None:
        """End the process, even in the middle of a round."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _receive(self) -> Any:
        try:
            message = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise ProcessFailed(f"its process ended with {self._process.exitcode}") from None
        if isinstance(message, str):
            self._process.join()
            raise ProcessFailed(message)
        return message


def _serve(pipe: Any, variant: Variant, setting: Setting) -> None:
    """In the child process: open the variant, warm up, then run a round for every message of the parent."""
    try:
        opened: Opened = pkgutil.resolve_name(variant.opener)(setting, **variant.options)
        for rows in opened.warm_up:
            opened.run_batch(rows)
        _trim_memory()
        pipe.send(opened.facts)
        texts = sum(map(len, opened.batches))
        while True:
            pipe.recv()
            opened.run_batch(opened.warm_up[-1])  # the first batch after a pause is slow
            started_at, own_cpu_s, busy_s = time.perf_counter(), time.process_time(), _busy_seconds()
            for rows in opened.batches:
                opened.run_batch(rows)
            seconds, cpu_seconds = time.perf_counter() - started_at, time.process_time() - own_cpu_s
            others_cpu_s = _busy_seconds() - busy_s - cpu_seconds
            _trim_memory()
            others = max(0.0, others_cpu_s / (seconds * (os.cpu_count() or 1)))
            pipe.send(Round(texts / seconds, texts / cpu_seconds, peak_memory_mb(), others))
    except (EOFError, KeyboardInterrupt):
        pass  # the parent has ended
    except (Exception, SystemExit) as error:  # noqa: BLE001 - reported in the variant's row; the others go on
        pipe.send(f"{type(error).__name__}: {error}")


def _trim_memory() -> None:
    """Return freed memory to the system, as all variants are open at once; their peaks are not affected."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # of glibc
        libc.malloc_trim(0)


def _busy_seconds() -> float:
    """Return the CPU time of all programs since the machine was started."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))
