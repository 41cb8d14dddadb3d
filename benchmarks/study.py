"""What the studies of few labels share: held-out rows, samples of training rows, options, and the run of the study."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.accuracy.sets import SETS, LabelledSet, Rows, load
from benchmarks.cells import read_cells
from benchmarks.upper_layers import Part, UpperLayers

SPLIT_SEED = 0
IN_ALL = 1_000
"""From here on, the size of a sample is the number of its rows; below, that of each class."""


def development(data: LabelledSet, rows: int, parts: int) -> tuple[list[Rows], Rows]:
    """Return disjoint groups of development rows drawn from the training rows, and all other training rows.

    Args:
        data: its test rows are not read.
        rows: rows of each group.
        parts: groups.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(data.train.labels)).tolist()
    groups = [data.train.at(order[number * rows : (number + 1) * rows]) for number in range(parts)]
    return groups, data.train.at(order[parts * rows :])


def drawn(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return the places of a sample: `size` rows of each class, or `size` rows in all from IN_ALL on.

    A class with fewer rows gives all of them.

    Raises:
        SystemExit: `size` rows in all are more than there are.
    """
    if size >= IN_ALL and len(labels) < size:
        raise SystemExit(f"--per-class: expected at most {len(labels):,} rows in all, found {size:,}")
    order = np.random.default_rng([seed, 1]).permutation(len(labels))
    if size >= IN_ALL:
        return np.sort(order[:size])
    return np.sort(np.concatenate([order[labels[order] == number][:size] for number in np.unique(labels)]))


def size_text(size: str | int) -> str:
    """Return the size of a sample for a table whose column says "labels a class"."""
    return f"{int(size):,} rows" if int(size) >= IN_ALL else str(size)


@dataclass(frozen=True)
class Sample:
    """Training rows that one seed draws, and the held-out rows of their data set."""

    upper: UpperLayers
    classes: tuple[str, ...]
    """Names of the classes."""
    dev: Part
    """Held-out rows, the same for all samples."""
    pool: Rows
    """The rows that are drawn from."""
    seed: int
    size: int
    """As in `drawn`."""

    @cached_property
    def train(self) -> Part:
        """The training rows; the encoder reads them when they are first used."""
        rows = drawn(np.array(self.pool.labels), self.size, self.seed)
        return self.upper.states(self.pool.at(rows.tolist()))


def samples(name: str, options: argparse.Namespace) -> Iterator[Sample]:
    """Yield the samples of a data set, seed by seed.

    Args:
        name: of the data set.
        options: those of `study_parser`, and `dev_rows` and `per_class`.
    """
    data = load(name, options.agnews)
    upper = UpperLayers(options.encoder, options.layers, options.max_tokens)
    (held_out,), pool = development(data, options.dev_rows, 1)
    dev = upper.states(held_out)
    for seed in range(options.seeds):
        for size in options.per_class:
            yield Sample(upper, tuple(data.classes), dev, pool, seed, size)


def study_parser(
    description: str, sets: Sequence[str], seeds: int, max_tokens: int | None = None
) -> argparse.ArgumentParser:
    """Return a parser of the options that the studies share.

    Args:
        description: of the study.
        sets: data sets that are compared by default.
        seeds: default number of seeds.
        max_tokens: default number of tokens at which `samples` cuts texts; None for a study that does not use them.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(sets))
    parser.add_argument("--agnews", type=Path, help="folder with AG News")
    parser.add_argument("--encoder", default="minilm")
    if max_tokens is not None:
        parser.add_argument("--layers", type=int, default=2)
        parser.add_argument("--max-tokens", type=int, default=max_tokens)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--table", action="store_true", help="print the table only")
    return parser


def run_study(
    options: argparse.Namespace,
    file: Path,
    measure: Callable[[str, argparse.Namespace], None],
    table: Callable[[list[dict[str, str]]], Iterable[str]],
) -> None:
    """Compute the missing cells of each data set, and print the table of the cells in a file."""
    if not options.table:
        for name in options.sets:
            measure(name, options)
    for line in table(read_cells(file)):
        print(line)
