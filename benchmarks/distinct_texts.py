"""Makes any number of distinct labelled texts from a few, by reordering their sentences."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.texts import LABELS, file_in

TRIES = 8
"""Random orders that are tried with one kind of piece before smaller pieces are used."""
CUTS = (re.compile(r"(?<=[.!?;])\s+"), re.compile(r"(?<=[.!?;:,)])\s+"), re.compile(r"\s+"))
"""Where a text is split: after sentences, then after clauses, then between words."""


def read_labelled(file: Path) -> list[tuple[str, str]]:
    """Return (text, label) of an AG News csv: class, title, description, or columns `text` and `label`."""
    with file.open(encoding="utf-8", newline="") as lines:
        first, *rest = csv.reader(lines)
    if "text" in first:
        text, label = first.index("text"), first.index("label")
        return [(row[text], row[label]) for row in rest]
    return [(" ".join(row[1:]), LABELS[int(row[0]) - 1]) for row in [first, *rest]]


def distinct_texts(rows: Sequence[tuple[str, str]], wanted: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the rows, then reordered rows, until there are `wanted` texts that differ in more than white space.

    Raises:
        SystemExit: the rows have no further orders.
    """
    generator = random.Random(seed)
    seen: set[int] = set()
    while len(seen) < wanted:
        before = len(seen)
        for text, label in rows:
            new = _unseen(" ".join(text.split()), generator, seen)
            if new is not None:
                seen.add(hash(new))
                yield new, label
                if len(seen) == wanted:
                    return
        if len(seen) == before:
            raise SystemExit(f"{len(rows)} rows make {before} distinct texts, and {wanted} are needed")


def _unseen(text: str, generator: random.Random, seen: set[int]) -> str | None:
    """Return the text or an order of its pieces that is not in `seen`, or None."""
    if hash(text) not in seen:
        return text
    for cut in CUTS:
        pieces = cut.split(text)
        for _ in range(TRIES if len(pieces) > 1 else 0):
            generator.shuffle(pieces)
            order = " ".join(pieces)
            if hash(order) not in seen:
                return order
    return None


def write_rows(
    data: Path, file: Path, wanted: int, test_file: Path | None = None, test_rows: int = 0
) -> None:
    """Write `wanted` distinct texts, made from the training file of a data folder, as csv with `text` and `label`.

    Args:
        data: folder with AG News as csv.
        file: the file to write.
        wanted: number of rows.
        test_file: a second file to write, if any.
        test_rows: rows of the second file, distinct from all rows of the first.
    """
    rows = distinct_texts(read_labelled(file_in(data)), wanted + test_rows)
    for target, number in ((file, wanted), (test_file, test_rows)):
        if target is None:
            continue
        with target.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.writer(lines)
            writer.writerow(["text", "label"])
            writer.writerows(next(rows) for _ in range(number))
