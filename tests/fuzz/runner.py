"""Feeds a reader's worker with inputs, within limits of time and memory, and collects what fails."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.fuzz.readers import READERS, Reader

CPU_SECONDS = 10.0
"""Processor time that one input may take."""
WALL_SECONDS = 120.0
"""The same on the clock: other processes may have the processor."""
BYTES = 2 * 2**30
"""Memory that one input may take beyond that of the worker at its start."""
COMMAND = ("-m", "tests.fuzz.worker")
"""Arguments of Python for a worker."""
KEPT_PER_PLACE = 3
CORPUS = Path(__file__).parent / "corpus"


@dataclass
class Result:
    """What a reader did with its inputs."""

    reader: str
    inputs: int = 0
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    """Inputs by the place where they failed."""
    examples: dict[str, tuple[str, list[Path]]] = field(default_factory=dict)
    """By place: the error's text, and the files of the first few inputs."""


class Worker:
    """A worker process, started anew after every crash."""

    def __init__(self, reader: str) -> None:
        self.reader = reader
        self.process: subprocess.Popen[str] | None = None
        self.base = 0

    def outcome(self, file: Path) -> dict[str, str]:
        """Return {} if the worker read or refused the input, else `place` and `text` of what happened."""
        process = self.start()
        assert process.stdin is not None and process.stdout is not None
        cpu, started = self._cpu(), time.monotonic()
        try:
            process.stdin.write(f"{file}\n")
            process.stdin.flush()
        except BrokenPipeError:
            return self._ended("a worker that ended between two inputs", "")
        while True:
            ready, _, _ = select.select([process.stdout], [], [], 0.05)
            if ready:
                line = process.stdout.readline()
                if not line:
                    code = process.wait()
                    return self._ended(f"the process ended with {code}", f"exit status {code}")
                found: dict[str, str] = json.loads(line)
                if "memory" in found and int(found.pop("memory")) > self.base + BYTES:
                    return self._ended("more than 2 GB of memory", "")
                return found
            if self._memory() > self.base + BYTES:
                return self._ended("more than 2 GB of memory", "")
            spent = time.monotonic() - started
            if spent > WALL_SECONDS or (spent > CPU_SECONDS and self._cpu() - cpu > CPU_SECONDS):
                return self._ended(f"more than {CPU_SECONDS:g} seconds", "")

    def close(self) -> None:
        """End the worker."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def start(self) -> subprocess.Popen[str]:
        """Return the process, which is started unless it runs."""
        if self.process is None:
            command = [sys.executable, *COMMAND, self.reader]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CORPUS.parents[2]
            )
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"the worker of '{self.reader}' did not start: {' '.join(command)}")
            self.base = self._memory()
        return self.process

    def _ended(self, place: str, text: str) -> dict[str, str]:
        self.close()
        return {"place": place, "text": text}

    def _cpu(self) -> float:
        assert self.process is not None
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def _memory(self) -> int:
        assert self.process is not None
        try:
            return int(psutil.Process(self.process.pid).memory_info().rss)
        except psutil.Error:
            return 0


def fuzz(name: str, seconds: float, inputs: int | None, seed: int, save: Path) -> Result:
    """Feed a reader with its seeds, its kept corpus, and then with changed ones.

    Args:
        name: of the reader.
        seconds: stop after this time.
        inputs: stop after so many inputs.
        seed: decides all inputs.
        save: folder for inputs that fail.
    """
    return replay(name, _inputs(READERS[name], random.Random(f"{seed} {name}")), save, seconds, inputs)


def replay(
    name: str, contents: Iterable[bytes], save: Path, seconds: float = float("inf"), inputs: int | None = None
) -> Result:
    """Feed a reader with inputs, in order."""
    result, worker = Result(name), Worker(name)
    worker.start()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / READERS[name].file
        try:
            for content in contents:
                if time.monotonic() - started > seconds or result.inputs == inputs:
                    break
                file.write_bytes(content)
                result.inputs += 1
                found = worker.outcome(file)
                if "place" in found:
                    _record(result, found, file, save)
        finally:
            worker.close()
    result.seconds = time.monotonic() - started
    return result


def kept(name: str) -> list[Path]:
    """Return the files of a reader's kept corpus."""
    return sorted((CORPUS / name).glob("*")) if (CORPUS / name).is_dir() else []


def _inputs(reader: Reader, rng: random.Random) -> Iterator[bytes]:
    pool = reader.seeds() + [file.read_bytes() for file in kept(reader.name)]
    return itertools.chain(pool, _changed(reader, rng, pool))


def _changed(reader: Reader, rng: random.Random, pool: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        data = rng.choice(pool)
        for _ in range(rng.choice([1, 1, 2])):
            data = reader.mutate(rng, data, pool)
        yield data


def _record(result: Result, found: dict[str, str], file: Path, save: Path) -> None:
    place = found["place"]
    result.failures[place] = result.failures.get(place, 0) + 1
    _, files = result.examples.setdefault(place, (found["text"], []))
    if len(files) < KEPT_PER_PLACE:
        save.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
        kept_file = save / f"{result.reader}-{digest}{file.suffix}"
        shutil.copyfile(file, kept_file)
        files.append(kept_file)
