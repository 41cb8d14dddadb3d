"""The command line of the fuzzers: `python -m tests.fuzz READER|all --seconds 5`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.readers import READERS
from tests.fuzz.runner import Result, fuzz, replay


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fuzzers, print a table, and return 1 if an input failed."""
    options = _parser().parse_args(arguments)
    if options.list:
        for name, reader in READERS.items():
            print(f"{name:14} {reader.about}")
        return 0
    names = list(READERS) if options.reader == "all" else options.reader.split(",")
    if unknown := [name for name in names if name not in READERS]:
        print(f"expected one of {', '.join(READERS)}, or all; found {unknown[0]}", file=sys.stderr)
        return 2
    save = options.save or Path(tempfile.mkdtemp(prefix="fuzz-"))

    def run(name: str) -> Result:
        if options.replay:
            return replay(name, [file.read_bytes() for file in options.replay], save)
        result = fuzz(name, options.seconds, options.inputs, options.seed, save)
        print(_line(result), file=sys.stderr, flush=True)
        return result

    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(options.jobs) as pool:
        os.environ["FUZZ_HOME"] = home
        results = list(pool.map(run, names))
    print("| reader | inputs | seconds | failures |\n|---|---:|---:|---:|")
    for result in results:
        print(_line(result))
    for result in results:
        for place, (text, files) in result.examples.items():
            print(f"\n{result.reader}: {place}, {result.failures[place]} times")
            print("\n".join(map(str, files)))
            print(text)
    return int(any(result.failures for result in results))


def _line(result: Result) -> str:
    failures = sum(result.failures.values())
    return f"| {result.reader} | {result.inputs:,} | {result.seconds:,.0f} | {failures:,} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Feed readers of files with mutated and hostile inputs. An input passes if the reader returns or "
        "refuses it with a message, within 10 seconds of processor time and 2 GB of memory.",
    )
    parser.add_argument("reader", nargs="?", default="all", help="a reader, several with commas, or all")
    parser.add_argument("--list", action="store_true", help="print the readers and end")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each reader; 30 by default")
    parser.add_argument("--inputs", type=int, help="stop a reader after so many inputs")
    parser.add_argument("--seed", type=int, default=0, help="decides the inputs; 0 by default")
    parser.add_argument("--jobs", type=int, default=1, help="readers at the same time")
    parser.add_argument(
        "--save", type=Path, help="folder for the inputs that fail; a temporary one by default"
    )
    parser.add_argument("--replay", type=Path, nargs="+", help="read these files instead of made ones")
    return parser


if __name__ == "__main__":
    sys.exit(main())
