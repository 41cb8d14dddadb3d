"""Computes the cells that the results lack, one after another, within a time budget."""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from benchmarks.accuracy import automatic, features, linear, peer, results
from benchmarks.accuracy.cells import Cell, encoder_of, estimated_minutes, kind_of
from benchmarks.accuracy.peer import MethodFailed
from benchmarks.accuracy.sets import AGNEWS, LabelledSet, load
from benchmarks.accuracy.task import Answer, Task

PLAIN: dict[str, Callable[[Task], Answer]] = {
    "majority": linear.majority,
    "words": linear.words,
    "characters": linear.characters,
}
WITH_ENCODER: dict[str, Callable[[Task, str], Answer]] = {
    "frozen": lambda task, encoder: features.probe(task, "frozen", encoder),
    "model2vec": lambda task, encoder: features.probe(task, "model2vec", encoder),
    "setfit": peer.setfit,
    "peft": peer.plain_peft,
    "auto": automatic.auto,
}


def run(
    cells: Iterable[Cell],
    file: Path,
    agnews: Path | None,
    budget_minutes: float | None,
    unfinished: Path | None = None,
) -> tuple[int, list[str]]:
    """Compute cells and append them to the results.

    Args:
        cells: in the order of their use; those in the results are skipped.
        file: the results.
        agnews: folder of AG News; without it, its cells are skipped.
        budget_minutes: a cell that would end later by the time of its other seeds, or by the estimate, is skipped.
        unfinished: folder of the runs of `auto` that are not complete, so that their cells go on after a kill.

    Returns:
        The number of computed cells, and one line a cell that failed.
    """
    started = time.monotonic()
    loaded: dict[str, LabelledSet] = {}
    failures: list[str] = []
    computed = 0
    for cell in cells:
        known = results.read(file)
        if cell in known or (cell.set == AGNEWS and agnews is None):
            continue
        spent = (time.monotonic() - started) / 60
        if budget_minutes is not None and spent + expected_minutes(cell, known) > budget_minutes:
            continue
        if cell.set not in loaded:
            loaded = {cell.set: load(cell.set, agnews)}
        try:
            result = compute(cell, loaded[cell.set], file, unfinished)
        except MethodFailed as error:
            failures.append(f"{cell.name}: {error}")
            print(failures[-1], file=sys.stderr, flush=True)
            continue
        computed += 1
        print(
            f"{cell.name}: {result.accuracy:.2%}, macro F1 {result.macro_f1:.3f}, {result.train_s:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    return computed, failures


def expected_minutes(cell: Cell, known: Mapping[Cell, results.Result]) -> float:
    """Return the minutes of a cell: the median of its other seeds, or the estimate before the first."""
    others = [
        (result.train_s + result.predict_s) / 60
        for other, result in known.items()
        if (other.set, other.size, other.method) == (cell.set, cell.size, cell.method)
    ]
    return statistics.median(others) if others else estimated_minutes(cell.set, cell.size, cell.method)


def compute(cell: Cell, data: LabelledSet, file: Path, unfinished: Path | None = None) -> results.Result:
    """Train the method of a cell, score its answer and append the result.

    Raises:
        MethodFailed: the method could not run.
    """
    train, test = data.train_places(cell.size, cell.seed), data.test_places(cell.size)
    scratch = unfinished / cell.name.replace("/", "-") if unfinished else None
    rows, scored_rows = data.train.at(train), data.test.at(test)
    # The test labels are not part of the task: they score the answer, nothing else.
    task = Task(
        set=cell.set,
        size=cell.size,
        seed=cell.seed,
        scratch=scratch,
        texts=rows.texts,
        labels=rows.labels,
        classes=data.classes,
        test_texts=scored_rows.texts,
        train_places=train,
        test_places=test,
    )
    encoder = encoder_of(cell.method)
    answer = WITH_ENCODER[kind_of(cell.method)](task, encoder) if encoder else PLAIN[cell.method](task)
    result, hits = results.scored(cell, answer, len(train), scored_rows.labels)
    results.append(result, hits, file)
    if scratch and scratch.is_dir():
        shutil.rmtree(scratch)
    return result
