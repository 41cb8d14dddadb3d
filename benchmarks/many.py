"""As many distinct labelled texts as asked for, made of few: rows again and again, their sentences in another order."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.texts import LABELS, file_in

TRIES = 8  # orders drawn of one kind of piece before smaller pieces are taken
# Where a text may be cut: behind sentences; where those have no new order left, behind clauses, and at last words.
CUTS = (re.compile(r"(?<=[.!?;])\s+"), re.compile(r"(?<=[.!?;:,)])\s+"), re.compile(r"\s+"))


def labelled(file: Path) -> list[tuple[str, str]]:
    """Return (text, label) of AG News, in its official form (class, title, description) or with `text` and `label`."""
    with file.open(encoding="utf-8", newline="") as lines:
        first, *rest = csv.reader(lines)
    if "text" in first:
        text, label = first.index("text"), first.index("label")
        return [(row[text], row[label]) for row in rest]
    return [(" ".join(row[1:]), LABELS[int(row[0]) - 1]) for row in [first, *rest]]


def distinct(rows: Sequence[tuple[str, str]], wanted: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Give the rows, then rows in new orders, until there are `wanted` texts that all differ, white space aside.

    Raises:
        SystemExit: the rows have no further orders.
    """
    draw = random.Random(seed)
    seen: set[int] = set()
    while len(seen) < wanted:
        before = len(seen)
        for text, label in rows:
            made = _another(" ".join(text.split()), draw, seen)
            if made is not None:
                seen.add(hash(made))
                yield made, label
                if len(seen) == wanted:
                    return
        if len(seen) == before:
            raise SystemExit(f"{len(rows)} rows make {before} distinct texts, and {wanted} are needed")


def _another(text: str, draw: random.Random, seen: set[int]) -> str | None:
    """Return the text, or an order of its pieces, that has not been seen; None where none was found."""
    if hash(text) not in seen:
        return text
    for cut in CUTS:
        pieces = cut.split(text)
        for _ in range(TRIES if len(pieces) > 1 else 0):
            draw.shuffle(pieces)
            made = " ".join(pieces)
            if hash(made) not in seen:
                return made
    return None


def write_rows(data: Path, file: Path, wanted: int, rest: Path | None = None, held: int = 0) -> None:
    """Write `wanted` distinct texts, made of the data folder's training file, as csv with `text` and `label`.

    Args:
        data: folder with AG News as csv.
        file: to write.
        wanted: number of rows.
        rest: a second file.
        held: rows of the second file, distinct from all of the first.
    """
    made = distinct(labelled(file_in(data)), wanted + held)
    for place, number in ((file, wanted), (rest, held)):
        if place is None:
            continue
        with place.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.writer(lines)
            writer.writerow(["text", "label"])
            writer.writerows(next(made) for _ in range(number))
