"""Measures the seconds from `submillion train` to its first optimizer step, with warm caches.

    python -m benchmarks.startup RECIPE [--set KEY=VALUE ...] [--rounds 3]

The first run downloads and tokenizes everything that is not cached, and does not count. A run is ended as soon as its
history has a line, which is written after the first step. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from submillion.rundir import RunDir

POLL_S = 0.01
"""Seconds between two reads of the history."""


def seconds_to_first_step(recipe: str, overrides: Sequence[str]) -> float:
    """Return the seconds of a training until its first step is done."""
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        run = RunDir(Path(folder) / "run")
        sets = [part for item in [*overrides, "train.log_every=1"] for part in ("--set", item)]
        command = ["-m", "submillion.cli", "train", recipe, "--out", str(run.path), "--quiet", *sets]
        started_at = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
        try:
            while not (run.history.is_file() and run.history.stat().st_size):
                if process.poll() is not None:
                    raise SystemExit(f"the training ended with {process.returncode} before its first step")
                time.sleep(POLL_S)
            return time.perf_counter() - started_at
        finally:
            process.kill()  # SIGINT would make it save a checkpoint first
            process.wait()


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    first = seconds_to_first_step(options.recipe, options.set)
    rounds = [seconds_to_first_step(options.recipe, options.set) for _ in range(options.rounds)]
    result = {
        "recipe": options.recipe,
        "seconds_to_first_step": statistics.median(rounds),
        "rounds": rounds,
        "seconds_of_first_run": first,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
