"""The command line of the accuracy benchmark.

    python -m benchmarks.accuracy run [--agnews FOLDER] [--only PATTERN ...] [--budget-minutes N]
    python -m benchmarks.accuracy table [--into docs/accuracy.md]
    python -m benchmarks.accuracy picture [--folder docs/pictures]

`run` computes the cells that the results lack and appends each to the results, so it may be killed and started again.
A cell is a set, a size, a seed and a method, such as agnews/8/0/words; --only takes patterns of such names.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.accuracy import picture, table
from benchmarks.accuracy.cells import planned
from benchmarks.accuracy.results import RESULTS, read, read_hits
from benchmarks.accuracy.runner import run
from benchmarks.pages import insert


def main() -> int:
    """Run a command; return exit code 1 if a cell failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="csv file of the computed cells")
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="compute cells")
    runs.add_argument("--agnews", type=Path, help="folder with train.csv and test_public.csv of AG News")
    runs.add_argument("--only", nargs="+", metavar="PATTERN", help="such as 'agnews/8/*/words'")
    runs.add_argument("--budget-minutes", type=float, metavar="N", help="skip cells that would end later")
    runs.add_argument(
        "--unfinished", type=Path, metavar="FOLDER", help="keep a killed run of auto here, and continue it"
    )
    tables = commands.add_parser("table", help="print the tables as markdown")
    tables.add_argument(
        "--into", type=Path, metavar="FILE", help="replace the part between the markers of FILE"
    )
    pictures = commands.add_parser("picture", help="draw accuracy against minutes")
    pictures.add_argument("--folder", type=Path, default=Path("docs/pictures"))
    options = parser.parse_args()
    if options.command == "run":
        cells = list(planned(options.only))
        if not cells:
            parser.error(f"--only: no cell is named {' or '.join(options.only)}")
        if options.agnews is not None and not (options.agnews / "train.csv").is_file():
            parser.error(f"--agnews: no train.csv in {options.agnews}")
        computed, failures = run(
            cells, options.results, options.agnews, options.budget_minutes, options.unfinished
        )
        print(f"{computed:,} cells computed, {len(failures):,} failed", file=sys.stderr)
        return int(bool(failures))
    known = read(options.results)
    if not known:
        parser.error(f"--results: no cells in {options.results}")
    if options.command == "picture":
        for path in picture.draw(known, options.folder):
            print(path)
        return 0
    text = table.render(known, read_hits(options.results))
    if options.into:
        insert(text, options.into, table.PART)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
