"""Measures the CPU time of `submillion plan`, compared with that of importing the libraries it avoids.

    python benchmarks/plan_startup.py [--runs 5] [--limit 0.5]

The exit code is 1 if the median of the plan is over the limit. The time is user plus system time of the child process,
which other programs affect little. Unix only (getrusage).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

PLAN = [
    "-m",
    "submillion.cli",
    "plan",
    "--encoder",
    "roberta-base",
    "--labels",
    "4",
    "--budget",
    "1000000",
    "--json",
]
CASES = {
    "submillion plan": PLAN,
    "submillion --help": ["-m", "submillion.cli", "--help"],
    "python -c pass": ["-c", "pass"],
    "python -c 'import peft'": ["-c", "import peft"],
}


def cpu_seconds(arguments: list[str]) -> float:
    """Run Python with `arguments`; return the user plus system time of the child in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> int:
    """Print one line per case; return exit code 1 if the plan is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--runs",
        type=int,
        default=5,
        help="measured runs per case, after a first one that fills the disk cache",
    )
    parser.add_argument("--limit", type=float, default=0.5, help="maximum CPU seconds of the plan")
    options = parser.parse_args()
    medians = {}
    for name, arguments in CASES.items():
        cpu_seconds(arguments)
        seconds = [cpu_seconds(arguments) for _ in range(options.runs)]
        medians[name] = statistics.median(seconds)
        print(
            f"{name:25s} median {medians[name]:6.3f} s   min {min(seconds):6.3f} s   of {options.runs} runs"
        )
    return int(medians["submillion plan"] > options.limit)


if __name__ == "__main__":
    sys.exit(main())
