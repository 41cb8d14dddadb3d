"""Runs that are killed at chosen and random points, continued as documented, and compared with undisturbed ones."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from submillion.rundir import RunDir
from support.fork_server import Ended, shared_server
from support.tiny_project import shared_project

KILLED = -9
# Entries that depend on the clock and the machine, by the end of their name.
CLOCKS = ("seconds", "_per_s", "_per_second", "seconds", "memory_mb", "accelerator_mb", "spent_before_s")
SETS = ("--set", "data.test=test.csv", "--set", "train.threads=1")
TRAIN = ("train", "tiny.yaml", *SETS, "--quiet")


def command(*words: object, **options: Any) -> Ended:
    """Run a command of the command line in the shared project; it ends with 0 or is killed."""
    ended = shared_server().run(*words, cwd=shared_project(), **options)
    assert ended.code in (0, KILLED), ended.output
    return ended


@cache
def undisturbed() -> tuple[RunDir, int]:
    """Return a run that was never disturbed, and the number of events of its training; not to be changed."""
    place = shared_project() / "undisturbed"
    ended = command(*TRAIN, "--out", place)
    return RunDir(place), ended.events


@contextmanager
def place_beside(other: Path) -> Iterator[Path]:
    """Yield a new place beside another run, so that both name their sources in the same way; it is deleted."""
    folder = Path(tempfile.mkdtemp(dir=other.parent))
    folder.rmdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def finish(place: Path) -> None:
    """Continue a killed training as documented: `resume`, or the same command if the run had not begun."""
    run = RunDir(place)
    if not run.manifest.is_file():
        command(*TRAIN, "--out", place)
    elif run.read_manifest()["status"] != "complete":
        command("resume", place, "--quiet")


def facts(run: RunDir) -> dict[str, Any]:
    """Return everything in a run that a kill must not change, by file: bytes, or JSON without clocks."""
    return {name: _fact(run.path / name) for name in files_of(run.path)}


def files_of(place: Path) -> list[str]:
    """Return the files of a run but those that only a training needs; hidden ones are left-overs."""
    names = [file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file()]
    return sorted(name for name in names if name != ".lock" and not name.startswith("checkpoint/"))


def _fact(file: Path) -> Any:
    if file.name == "history.jsonl":
        return [_timeless(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    if file.suffix == ".json":
        value = _timeless(json.loads(file.read_text(encoding="utf-8")))
        if file.name == "manifest.json":
            # These hashes cover clocks; `check` compares them with the files.
            return {
                name: part
                for name, part in value.items()
                if name not in ("created", "files", "analysis_files")
            }
        return value
    if file.suffix in (".html", ".md"):
        return None  # shows times
    return file.read_bytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _timeless(part) for key, part in value.items() if not (key.endswith(CLOCKS) or key == "cost")
        }
    return [_timeless(part) for part in value] if isinstance(value, list) else value


def check(place: Path, expected: RunDir) -> None:
    """Assert that a run equals an undisturbed one bit for bit, that its files have their hashes, and verifies."""
    run = RunDir(place)
    present, wanted = facts(run), facts(expected)
    differing = {name for name in present.keys() | wanted.keys() if present.get(name) != wanted.get(name)}
    assert not differing, [(name, present.get(name), wanted.get(name)) for name in differing]
    manifest = run.read_manifest()
    assert run.hashes() == manifest["files"] | manifest["analysis_files"]
    states = [one.checkpoint / "latest" / "state.safetensors" for one in (run, expected)]
    assert all(state.is_file() for state in states)
    verified = shared_server().run("verify", place, "--rows", 5, "--quiet")
    assert verified.code == 0, verified.output


def spread(total: int, count: int) -> Iterator[int]:
    """Yield numbers from 1 to `total`, evenly spread, in an order that mixes early and late ones."""
    step = total / count
    for index in range(count):
        yield (
            1 + int(((index * 5) % count + 0.5) * step)
            if count % 5
            else 1 + int((index * 7 % count + 0.5) * step)
        )
