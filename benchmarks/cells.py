"""The csv files in which benchmarks keep their cells: one row a cell, computed once and appended."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.accuracy.differences import mean_of
from submillion import environment


def read_cells(file: Path) -> list[dict[str, str]]:
    """Return the rows of a csv file; none if there is no file."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as source:
        return list(csv.DictReader(source))


def known(file: Path, key: Mapping[str, object]) -> bool:
    """Return whether a csv file has a cell."""
    return any(all(cell[name] == str(value) for name, value in key.items()) for cell in read_cells(file))


def append_cell(file: Path, cell: Mapping[str, object]) -> None:
    """Add a row to a csv file, which is made if it is not there."""
    new = not file.is_file()
    with file.open("a", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, list(cell), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(cell)


def machine_facts() -> dict[str, str | None]:
    """Return the processor and the commit that a cell is measured with."""
    return {"processor": environment.processor(), "commit": (environment.git_state() or {}).get("commit")}


def paired(differences: Sequence[float], digits: int = 1) -> str:
    """Return the mean of differences within a seed with its 95 % interval (Student's t)."""
    mean = mean_of(differences)
    reach = "" if mean.half_width is None else f" ± {mean.half_width:.{digits}f}"
    return f"{mean.value:+.{digits}f}{reach} ({mean.seeds})"
