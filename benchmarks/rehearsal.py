"""Runs the reference training at full size, from the command to the report, and shows where its time goes.

    python -m benchmarks.rehearsal --data FOLDER --encoder FOLDER --work FOLDER [--layers top-6|all] [--json FILE]
        [--rows 120000] [--epochs 5] [--set KEY=VALUE ...]

Makes 120,000 distinct texts from the available rows of AG News by reordering their sentences; a tenth is held out for
validation, and 7,600 more are the test split. Rank 8 on query and value with RoBERTa's own head, 5 epochs without early
stopping, an evaluation after each. An encoder without weights gets random ones: the accuracy is then meaningless, the
times are not.

Runs `submillion train` as a process. All files are in --work, including the cache, so nothing of an earlier run is
reused. After Ctrl-C, SIGTERM or a crash, the same command continues.
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

from benchmarks.distinct_texts import write_rows
from benchmarks.encoders import has_weights, save_random_weights
from benchmarks.harness import log
from benchmarks.isolated import run_isolated
from benchmarks.phases import Phase, phases_of, time_data
from submillion.rundir import RunDir

FULL_ROWS, FULL_TEST_ROWS = 120_000, 7_600
INTERRUPTED = 130


class Work:
    """The folder of a rehearsal, with all its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.run = RunDir(self.folder / "run")
        self.recipe = self.folder / "recipe.yaml"
        self.options = self.folder / "options.json"
        self.attempts = self.folder / "attempts.jsonl"
        self.data_times = self.folder / "data_times.json"

    def prepare(self, data: Path, encoder: Path, options: dict[str, Any]) -> None:
        """Create data, encoder and recipe unless they exist.

        Raises:
            SystemExit: the folder contains a rehearsal with other options.
        """
        if self.options.is_file():
            if json.loads(self.options.read_text(encoding="utf-8")) != options:
                raise SystemExit(
                    f"{self.folder}: expected a rehearsal with these options, found another. Use another folder."
                )
            return
        files = self.folder / "data"
        files.mkdir(parents=True, exist_ok=True)
        log(f"making {options['rows'] + options['test_rows']:,} distinct texts")
        train, test = files / "train.csv", files / "test.csv"
        run_isolated(write_rows, data, train, options["rows"], test, options["test_rows"])
        if not has_weights(encoder):
            save_random_weights(encoder, self.folder / "encoder")
            encoder = self.folder / "encoder"
        self.recipe.write_text(yaml.safe_dump(_recipe(files, encoder.absolute(), options)), encoding="utf-8")
        self.options.write_text(json.dumps(options), encoding="utf-8")  # last: marks the folder as complete

    def proceed(self) -> int:
        """Train, resume, or write a missing report; return the exit code of the command."""
        command = self._command()
        if command is None:
            return 0
        started_at = time.time()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with self.attempts.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"command": command[0], "started_at": started_at}) + "\n")
        environment = {**os.environ, "SUBMILLION_CACHE": str(self.folder / "cache")}
        # In a session of its own, so that Ctrl-C reaches it only once, through this process.
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
        outcome = {"ended": time.time(), "seconds": time.time() - started_at, "cpu_seconds": cpu}
        with self.attempts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(outcome | {"code": process.returncode}) + "\n")
        return process.returncode

    def _command(self) -> list[str] | None:
        run = self.run
        if not run.manifest.is_file():
            return ["train", str(self.recipe), "--out", str(run.path), "--overwrite"]
        if run.read_manifest()["status"] != "complete":
            return ["resume", str(run.path)]
        if run.report.is_file():
            return None
        from submillion.assess.registry import quick_parts  # interrupted between training and report

        return ["report", str(run.path), *(word for part in quick_parts() for word in ("--with", part))]

    def all_attempts(self) -> list[dict[str, Any]]:
        """Return the processes so far: `command`, `started_at`, `ended`, `seconds`, and `cpu_seconds` if known."""
        attempts: list[dict[str, Any]] = []
        for line in self.attempts.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if "started_at" in record:
                attempts.append(record)
            else:
                attempts[-1] |= record
        for attempt, following in zip(attempts, [*attempts[1:], None], strict=True):
            if "ended" not in attempt:  # killed together with this benchmark; use the modification times
                times = [file.stat().st_mtime for file in self.run.path.rglob("*") if file.is_file()]
                latest = [moment for moment in times if following is None or moment < following["started_at"]]
                attempt["ended"] = max([attempt["started_at"], *latest])
                attempt["seconds"] = attempt["ended"] - attempt["started_at"]
        return attempts

    def measure_data(self) -> dict[str, float]:
        """Return the seconds of reading and tokenizing the data; measured once."""
        if not self.data_times.is_file():
            self.data_times.write_text(json.dumps(run_isolated(time_data, self.recipe)), encoding="utf-8")
        times: dict[str, float] = json.loads(self.data_times.read_text(encoding="utf-8"))
        return times


def _recipe(files: Path, encoder: Path, options: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "rehearsal",
        "encoder": {"source": str(encoder)},
        "data": {
            "train": str(files / "train.csv"),
            "test": str(files / "test.csv"),
            "validation_size": 0.1,
            "max_length": 128,
        },
        "lora": {"r": 8, "alpha": 16, "targets": ["query", "value"], "layers": options["layers"]},
        # Patience 0 runs all epochs, although random weights learn nothing.
        "train": {"epochs": options["epochs"], "patience": 0},
    }
    for item in options["set"]:
        key, _, value = item.partition("=")
        section, _, name = key.rpartition(".")
        (values.setdefault(section, {}) if section else values)[name] = yaml.safe_load(value)
    return values


def summary(work: Work) -> dict[str, Any]:
    """Return the times of a finished rehearsal.

    Returns:
        `options`, `seconds` and `cpu_seconds` (of all attempts; None if one was killed), `phases` (each `name`,
        `seconds`, `share`, `source`), `attempts`, and from the manifest `machine`, `training` and `rows` by split.
    """
    attempts = work.all_attempts()
    phases = phases_of(work.run, attempts, work.measure_data())
    seconds = sum(attempt["seconds"] for attempt in attempts)
    known = [attempt.get("cpu_seconds") for attempt in attempts]
    manifest = work.run.read_manifest()
    return {
        "options": json.loads(work.options.read_text(encoding="utf-8")),
        "seconds": seconds,
        "cpu_seconds": None if None in known else sum(known),
        "phases": [asdict(phase) | {"share": phase.seconds / seconds} for phase in phases],
        "attempts": attempts,
        "machine": manifest["machine"],
        "rows": {name: split["rows"] for name, split in manifest["data"]["splits"].items()},
        "training": manifest["training"],
    }


def render(result: dict[str, Any]) -> str:
    """Return the phases as a table."""
    training, rows = result["training"], result["rows"]
    lines = [f"{'':36} seconds   share   source"]
    for phase in [*result["phases"], asdict(Phase("total", result["seconds"], "")) | {"share": 1.0}]:
        lines.append(f"{phase['name']:34} {phase['seconds']:9,.1f} {phase['share']:7.1%}   {phase['source']}")
    splits = ", ".join(f"{number:,} {name}" for name, number in rows.items())
    lines.append(
        f"{splits} rows; {training['epochs_run']:g} epochs, {training['execution']}, "
        f"{training['samples_per_second']:.1f} samples/s in steps, peak {training['peak_memory_mb']:,.0f} MB"
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare, train and print the times; return the exit code of the training."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with AG News as csv")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of an encoder")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of this rehearsal; it is not deleted"
    )
    parser.add_argument("--layers", default="all", help="all, or top-N")
    parser.add_argument("--rows", type=int, default=FULL_ROWS, help="texts, a tenth of them for validation")
    parser.add_argument("--test-rows", type=int, help="default: 7,600, or in proportion to --rows")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a recipe field"
    )
    parser.add_argument("--json", type=Path, help="write the times to this file")
    options = parser.parse_args(arguments)
    tests = options.test_rows or max(2, round(options.rows * FULL_TEST_ROWS / FULL_ROWS))
    work = Work(options.work)
    chosen = {
        "rows": options.rows,
        "test_rows": tests,
        "epochs": options.epochs,
        "layers": options.layers,
        "set": options.set,
    }
    work.prepare(options.data, options.encoder, chosen)
    if code := work.proceed():
        reason = "run the same command to continue" if code == INTERRUPTED else "it failed"
        log(f"the training ended with {code}: {reason}")
        return code
    result = summary(work)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(render(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
