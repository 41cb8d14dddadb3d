"""Predictions of several runs on the same rows, brought into one order; runs scored on other rows are refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.errors import BadInput, Problem
from submillion.rundir import RunDir

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Aligned:
    """One split as several runs answered it."""

    split: str
    label_names: list[str]
    labels: np.ndarray
    """Class index per row, int [N]."""
    predicted: list[np.ndarray]
    """Of each run, the class index it answered per row, int [N]."""


def align(runs: Sequence[RunDir], split: str | None = None) -> Aligned:
    """Read one split of every run in one order of rows and classes, those of the first run.

    Rows are the same where text and label are, by the hashes that the predictions carry; in which order a run
    saved them does not matter, nor in which order it numbers the classes.

    Args:
        runs: two or more.
        split: which; None takes test where every run has it, else validation.

    Raises:
        BadInput: a run lacks the split or its labels, or has other rows, labels or classes than the first;
            every run that does is told.
    """
    import numpy as np

    chosen = split or ("test" if all("test" in run.prediction_splits() for run in runs) else "validation")
    saved = [run.load_predictions(chosen) for run in runs]
    first = saved[0]
    problems = [
        Problem(str(run.prediction_file(chosen)), "labelled predictions", found)
        for run, one in zip(runs, saved, strict=True)
        for found in ["no labels" if one.labels is None else "" if one.ids else "no rows"]
        if found
    ]
    if problems:
        raise BadInput(problems)
    problems = [
        Problem(
            str(run.prediction_file(chosen)),
            f"the rows and classes of {runs[0].path}",
            found,
            "Compare runs of the same data, or score them on one file with `submillion evaluate`.",
        )
        for run, one in zip(runs[1:], saved[1:], strict=True)
        if (found := _difference(first, one))
    ]
    if problems:
        raise BadInput(problems)
    names = first.label_names
    labels, predicted = [], []
    for one in saved:
        number = np.array([names.index(name) for name in one.label_names])
        of_label = number[one.labels]
        order = np.lexsort((of_label, np.array(one.text_sha256)))
        labels.append(of_label[order])
        predicted.append(number[one.predicted][order])
    return Aligned(chosen, names, labels[0], predicted)


def open_all(paths: Sequence[str | Path]) -> list[RunDir]:
    """Open runs to be compared.

    Raises:
        BadInput: fewer than two, one named twice, or one that is no run.
    """
    if len(paths) < 2:
        raise BadInput(Problem("compare", "two runs or more", f"{len(paths)}"))
    places = [Path(path).resolve() for path in paths]
    twice = [str(path) for index, path in enumerate(paths) if places[index] in places[:index]]
    if twice:
        raise BadInput(Problem("compare", "different runs", f"{', '.join(twice)} more than once"))
    return [RunDir.open(path) for path in paths]


def _difference(first: dict[str, Any], other: dict[str, Any]) -> str:
    """Say in what another run's rows or classes differ from the first's; empty where in nothing."""
    if sorted(first.label_names) != sorted(other.label_names):
        unknown = [name for name in other.label_names if name not in first.label_names]
        lacking = [name for name in first.label_names if name not in other.label_names]
        parts = [
            f"{what} {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}"
            for what, names in (("without", lacking), ("with", unknown))
            if names
        ]
        return f"classes {' and '.join(parts)}"
    here, there = Counter(first.text_sha256), Counter(other.text_sha256)
    missing, more = (here - there).total(), (there - here).total()
    relabelled = (_labelled(first) - _labelled(other)).total() - missing
    counts = ((missing, "of them missing"), (more, "others"), (relabelled, "with another label"))
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)


def _labelled(saved: dict[str, Any]) -> Counter[tuple[str, str]]:
    names = saved.label_names
    return Counter((text, names[label]) for text, label in zip(saved.text_sha256, saved.labels, strict=True))
