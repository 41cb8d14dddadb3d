"""Labels very many rows with `submillion predict`, kills it on the way, and checks memory and rows.

    python -m benchmarks.predict_rows RUN [--rows 10000000] [--kill-at 0.3] [--json FILE]

The texts are eight words each, as in `benchmarks.predict_scale`. The command is killed (SIGKILL) once it has written
the given share of the rows, and continued with `--resume`. Prints the peak memory of both processes, the seconds, and
whether the output has every row once, in order; the labels of 1,000 rows from all over the file are compared with those
of a file that holds only these rows. RUN may be of any encoder: memory and rows do not depend on its speed.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.predict_scale import write_texts
from submillion.ship.predict_parts import CURSOR

POLL_S = 0.2
COMPARED = 1_000


def predict(run: Path, file: Path, out: Path, *options: str, until_rows: int | None = None) -> dict[str, Any]:
    """Run `submillion predict`; return its seconds, peak memory in MB, and whether it was killed.

    Args:
        run: the run directory.
        file: csv of texts.
        out: csv of labels.
        options: further ones of the command.
        until_rows: kill it when this many rows are in complete parts; None lets it end.

    Raises:
        SystemExit: the command failed.
    """
    command = [sys.executable, "-m", "submillion.cli", "predict", str(run), str(file), "--out", str(out)]
    began, peak = time.perf_counter(), 0
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    killed = False
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        if until_rows is not None and rows_in_parts(out) >= until_rows:
            process.kill()
            killed = True
        time.sleep(POLL_S)
    if process.wait() and not killed:
        raise SystemExit(f"predict ended with {process.returncode}")
    return {"seconds": time.perf_counter() - began, "peak_rss_mb": peak / 1e6, "killed": killed}


def rows_in_parts(out: Path) -> int:
    """Return how many rows are in the complete parts of an unfinished output."""
    cursor = out.with_name(out.name + ".parts") / CURSOR
    try:
        return sum(part["counts"]["rows"] for part in json.loads(cursor.read_text(encoding="utf-8"))["parts"])
    except FileNotFoundError:
        return 0


def labels(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the label of each row of an output."""
    with file.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            yield int(row["ID"]), row["Label"]


def measure(run: Path, rows: int, kill_at: float) -> dict[str, Any]:
    """Label the rows with one kill on the way; return the measurements.

    Raises:
        SystemExit: a row is missing, doubled, out of order, or has another label than on its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "texts.csv", Path(folder) / "labels.csv"
        write_texts(run, rows, file)
        first = predict(run, file, out, until_rows=int(kill_at * rows))
        kept = rows_in_parts(out)
        second = predict(run, file, out, *(["--resume"] if first["killed"] else []))
        chosen = _some_rows(file, rows, Path(folder) / "some.csv")
        predict(run, Path(folder) / "some.csv", Path(folder) / "alone.csv")
        alone = [label for _, label in labels(Path(folder) / "alone.csv")]
        found: list[str] = []
        count = 0
        for count, (number, label) in enumerate(labels(out), start=1):
            if number != count - 1:
                raise SystemExit(f"row {count - 1} of the output has the number {number}")
            if number in chosen:
                found.append(label)
        if count != rows:
            raise SystemExit(f"the output has {count:,} of {rows:,} rows")
        if found != alone:
            different = sum(one != other for one, other in zip(found, alone, strict=True))
            raise SystemExit(f"{different} of {len(alone)} labels differ from those of the rows alone")
    return {"rows": rows, "killed": first, "kept_rows": kept, "resumed": second, "compared": len(alone)}


def _some_rows(file: Path, rows: int, to: Path) -> set[int]:
    """Write every n-th row of a csv to another one; return their numbers."""
    step = max(1, rows // COMPARED)
    with file.open(encoding="utf-8") as lines, to.open("w", encoding="utf-8") as chosen:
        chosen.write(next(lines))
        chosen.writelines(line for number, line in enumerate(lines) if number % step == 0)
    return set(range(0, rows, step))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument(
        "--kill-at", type=float, default=0.3, help="share of the rows after which it is killed"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    result = measure(options.run, options.rows, options.kill_at)
    for name in ("killed", "resumed"):
        one = result[name]
        print(f"{name + ':':9} {one['seconds']:8,.0f} s, peak {one['peak_rss_mb']:,.0f} MB")
    print(
        f"{result['rows']:,} rows, each once and in order; {result['kept_rows']:,} of them written before the kill; "
        f"{result['compared']:,} labels are those of the rows alone"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
