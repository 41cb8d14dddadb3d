"""The reference run at full size, from the command to the finished report: where its time goes.

    python -m benchmarks.rehearsal --data FOLDER --encoder FOLDER --work FOLDER [--layers top-6|all] [--json FILE]
        [--rows 120000] [--epochs 5] [--set KEY=VALUE ...]

120,000 distinct texts are made of the rows of AG News that are there, their sentences in other orders; a tenth is
held out for validation, and 7,600 more are the test. Rank 8 on query and value with RoBERTa's own head, 5 epochs, all
of them run, an evaluation after each. An encoder without weights gets random ones: its accuracy says nothing, its
seconds do.

`submillion train` does it, as a process. Everything lies in --work: ended by Ctrl-C, by SIGTERM or by a crash, the
same command goes on where it was. Its cache lies there too, so nothing of an earlier run is found.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from benchmarks.apart import apart
from benchmarks.encoders import draw_weights, has_weights
from benchmarks.harness import say
from benchmarks.many import write_rows
from benchmarks.stations import Station, read_apart, stations_of
from submillion.rundir import RunDir

FULL_ROWS, FULL_TEST_ROWS = 120_000, 7_600
INTERRUPTED = 130


class Work:
    """The folder of one rehearsal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.run = RunDir(self.folder / "run")
        self.recipe = self.folder / "recipe.yaml"
        self.asked = self.folder / "asked.json"
        self.attempts = self.folder / "attempts.jsonl"
        self.measured = self.folder / "apart.json"

    def prepare(self, data: Path, encoder: Path, asked: dict[str, Any]) -> None:
        """Make data, encoder and recipe, unless they are there.

        Raises:
            SystemExit: another rehearsal lies in the folder.
        """
        if self.asked.is_file():
            if json.loads(self.asked.read_text(encoding="utf-8")) != asked:
                raise SystemExit(f"{self.folder}: another rehearsal lies here; name another folder")
            return
        files = self.folder / "data"
        files.mkdir(parents=True, exist_ok=True)
        say(f"making {asked['rows'] + asked['test_rows']:,} distinct texts")
        apart(write_rows, data, files / "train.csv", asked["rows"], files / "test.csv", asked["test_rows"])
        if not has_weights(encoder):
            draw_weights(encoder, self.folder / "encoder")
            encoder = self.folder / "encoder"
        self.recipe.write_text(yaml.safe_dump(_recipe(files, encoder.absolute(), asked)), encoding="utf-8")
        self.asked.write_text(json.dumps(asked), encoding="utf-8")  # at last: now all is there

    def go_on(self) -> int:
        """Train, or resume, or write the report that is missing; return the exit code of the last command."""
        command = self._command()
        if command is None:
            return 0
        began = time.time()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with self.attempts.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"command": command[0], "began": began}) + "\n")
        environment = {**os.environ, "SUBMILLION_CACHE": str(self.folder / "cache")}
        # In a session of its own: Ctrl-C reaches it once, through this process.
        process = subprocess.Popen(
            [sys.executable, "-m", "submillion.cli", *command], env=environment, start_new_session=True
        )
        handlers = {
            number: signal.signal(number, lambda *_: process.send_signal(signal.SIGINT))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            process.wait()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        done = {"ended": time.time(), "seconds": time.time() - began, "cpu_seconds": cpu}
        with self.attempts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(done | {"code": process.returncode}) + "\n")
        return process.returncode

    def _command(self) -> list[str] | None:
        run = self.run
        if not run.manifest.is_file():
            return ["train", str(self.recipe), "--out", str(run.path), "--overwrite"]
        if run.read_manifest()["status"] != "complete":
            return ["resume", str(run.path)]
        if run.report.is_file():
            return None
        from submillion.assess.registry import quick_parts  # ended between the training and its report

        return ["report", str(run.path), *(word for part in quick_parts() for word in ("--with", part))]

    def all_attempts(self) -> list[dict[str, Any]]:
        """Return the processes so far: `command`, `began`, `ended`, `seconds`, and `cpu_seconds` where known."""
        found: list[dict[str, Any]] = []
        for line in self.attempts.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if "began" in record:
                found.append(record)
            else:
                found[-1] |= record
        for attempt, following in zip(found, [*found[1:], None], strict=True):
            if "ended" not in attempt:  # it was killed together with this benchmark; what is on disk tells
                times = [file.stat().st_mtime for file in self.run.path.rglob("*") if file.is_file()]
                latest = [moment for moment in times if following is None or moment < following["began"]]
                attempt["ended"] = max([attempt["began"], *latest])
                attempt["seconds"] = attempt["ended"] - attempt["began"]
        return found

    def measure_apart(self) -> dict[str, float]:
        """Return what reading and tokenizing take; measured once."""
        if not self.measured.is_file():
            self.measured.write_text(json.dumps(apart(read_apart, self.recipe)), encoding="utf-8")
        found: dict[str, float] = json.loads(self.measured.read_text(encoding="utf-8"))
        return found


def _recipe(files: Path, encoder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "rehearsal",
        "encoder": {"source": str(encoder)},
        "data": {
            "train": str(files / "train.csv"),
            "test": str(files / "test.csv"),
            "validation_size": 0.1,
            "max_length": 128,
        },
        "lora": {"r": 8, "alpha": 16, "targets": ["query", "value"], "layers": asked["layers"]},
        # Patience 0: with random weights nothing is learned, and all epochs are to be run.
        "train": {"epochs": asked["epochs"], "patience": 0},
    }
    for item in asked["set"]:
        key, _, value = item.partition("=")
        section, _, name = key.rpartition(".")
        (values.setdefault(section, {}) if section else values)[name] = yaml.safe_load(value)
    return values


def summary(work: Work) -> dict[str, Any]:
    """Return what a finished rehearsal took.

    Returns:
        `asked`, `seconds` and `cpu_seconds` (all attempts; None where one was killed), `stations` (each `name`,
        `seconds`, `share`, `told_by`), `attempts`, and of the manifest `machine`, `training` and `rows` by split.
    """
    attempts = work.all_attempts()
    stations = stations_of(work.run, attempts, work.measure_apart())
    seconds = sum(attempt["seconds"] for attempt in attempts)
    known = [attempt.get("cpu_seconds") for attempt in attempts]
    manifest = work.run.read_manifest()
    return {
        "asked": json.loads(work.asked.read_text(encoding="utf-8")),
        "seconds": seconds,
        "cpu_seconds": None if None in known else sum(known),
        "stations": [asdict(station) | {"share": station.seconds / seconds} for station in stations],
        "attempts": attempts,
        "machine": manifest["machine"],
        "rows": {name: split["rows"] for name, split in manifest["data"]["splits"].items()},
        "training": manifest["training"],
    }


def render(found: dict[str, Any]) -> str:
    """Return the stations as a table."""
    training, rows = found["training"], found["rows"]
    lines = [f"{'':36} seconds   share   told by"]
    for station in [*found["stations"], asdict(Station("all", found["seconds"], "")) | {"share": 1.0}]:
        lines.append(
            f"{station['name']:34} {station['seconds']:9,.1f} {station['share']:7.1%}   {station['told_by']}"
        )
    told = ", ".join(f"{number:,} {name}" for name, number in rows.items())
    lines.append(
        f"{told} rows; {training['epochs_run']:g} epochs, {training['execution']}, "
        f"{training['samples_per_second']:.1f} samples/s in steps, peak {training['peak_memory_mb']:,.0f} MB"
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare, train, tell; the exit code is that of the training."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with AG News as csv")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of an encoder")
    parser.add_argument("--work", type=Path, required=True, help="folder of this rehearsal, kept")
    parser.add_argument("--layers", default="all", help="all, or top-N")
    parser.add_argument("--rows", type=int, default=FULL_ROWS, help="texts, a tenth of them for validation")
    parser.add_argument("--test-rows", type=int, help="7,600, or as many as go with fewer --rows")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    options = parser.parse_args(arguments)
    tests = options.test_rows or max(2, round(options.rows * FULL_TEST_ROWS / FULL_ROWS))
    work = Work(options.work)
    asked = {
        "rows": options.rows,
        "test_rows": tests,
        "epochs": options.epochs,
        "layers": options.layers,
        "set": options.set,
    }
    work.prepare(options.data, options.encoder, asked)
    if code := work.go_on():
        again = "the same command goes on" if code == INTERRUPTED else "it failed"
        say(f"the training ended with {code}: {again}")
        return code
    found = summary(work)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(render(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
