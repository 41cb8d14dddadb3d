"""Prints the table of an export's forms for README.md, or writes it into a page between two comments.

    python -m benchmarks.exports EXPORT [--into README.md]

EXPORT is a folder that `submillion export` has made; all figures are those of its export.json, which `submillion verify
EXPORT --against RUN` compares with the files. Its speeds are left out: each was measured once, one after the other.
`benchmarks.inference` measures in turns.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages import insert
from submillion.run_format.export import EXPORT
from submillion.wording import byte_count, percent, points, points_range

PART = "export forms"


def markdown(record: Mapping[str, Any]) -> str:
    """Return a sentence and the table of an export's record."""
    files = {**record["files"], **record["removed"]}
    first = next(iter(files.values()))
    rows = [
        [
            f"`{name}`" if name in record["files"] else f"{name} (removed)",
            byte_count(entry["size_bytes"]),
            percent(entry["argmax_agreement"], 2),
            _difference(entry),
        ]
        for name, entry in files.items()
    ]
    compared = " and ".join(f"{part['rows']:,} {split} rows" for split, part in record["compared"].items())
    return "\n".join(
        [
            f"`{record['run']['name']}` on {compared}; {first['processor']}. Differences are file minus run, "
            "with their 95% intervals.",
            "",
            "| file | size | same class as the run | accuracy, points |",
            "|---|---:|---:|---:|",
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
    )


def _difference(entry: Mapping[str, Any]) -> str:
    """Return the difference of accuracy with its interval, in points."""
    difference, interval = entry["accuracy_difference"], entry["interval"]
    if difference is None or interval is None:
        return "no labels"
    return f"{points(difference)} ({points_range(interval['low'], interval['high'])})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("export", type=Path)
    parser.add_argument("--into", type=Path, metavar="PAGE", help=f"a page with the comments of '{PART}'")
    options = parser.parse_args(arguments)
    text = markdown(json.loads((options.export / EXPORT).read_text(encoding="utf-8")))
    if options.into:
        insert(text, options.into, PART)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
