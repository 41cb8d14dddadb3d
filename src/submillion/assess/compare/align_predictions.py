"""Aligns the predictions of several runs on the same rows; runs scored on other rows are refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from submillion.data.labels import Classes
from submillion.errors import BadInput, Problem
from submillion.run_format.predictions import Predictions
from submillion.run_format.splits import SCORED_SPLITS
from submillion.run_layout import FINISH
from submillion.rundir import RunDir

LISTED = 4
"""Class names listed in a message."""


@dataclass(frozen=True)
class Aligned:
    """The answers of several runs to one split."""

    split: str
    label_names: list[str]
    labels: np.ndarray
    """Class index per row, int [N]."""
    predicted: list[np.ndarray]
    """Predicted class index per row, int [N], of each run."""


def align(runs: Sequence[RunDir], split: str | None = None) -> Aligned:
    """Read one split of every run in one order of rows and classes.

    Rows are the same if text and label are, by the hashes in the predictions; the order in which a run saved them
    does not matter, nor the order in which it numbers the classes, nor how it writes them (`1.0` or `1`).

    Args:
        runs: two or more.
        split: name of the split; None takes test if every run has it, else validation.

    Raises:
        BadInput: a run lacks the split or its labels, or has other rows, labels or classes than the first; the message
            lists every such run.
    """
    chosen = split or ("test" if all("test" in run.prediction_splits() for run in runs) else "validation")
    _check_scored(runs, chosen)
    first, *others = [run.load_predictions(chosen) for run in runs]
    saved = [first, *(replace(one, label_names=_named_alike(first, one)) for one in others)]
    _check_labelled(runs, saved, chosen)
    _check_same_rows(runs, saved, chosen)
    names = saved[0].label_names
    labels, predicted = [], []
    for one in saved:
        number = np.array([names.index(name) for name in one.label_names])
        of_label = number[one.labels]
        order = np.lexsort((of_label, np.array(one.text_sha256)))
        labels.append(of_label[order])
        predicted.append(number[one.predicted][order])
    return Aligned(chosen, names, labels[0], predicted)


def _named_alike(first: Predictions, other: Predictions) -> list[str]:
    """Return another run's class names as the first run writes them; unchanged if some have no class of their own."""
    classes = Classes(first.label_names)
    found = [classes.find(name) for name in other.label_names]
    indices = [index for index in found if index is not None]
    if len(set(indices)) < len(found):
        return other.label_names
    return [first.label_names[index] for index in indices]


def open_all(paths: Sequence[str | Path]) -> list[RunDir]:
    """Open the runs to compare.

    Raises:
        BadInput: fewer than two, one named twice, or a path that is no run.
    """
    if len(paths) < 2:
        raise BadInput(Problem("compare", "two runs or more", f"{len(paths)}"))
    places = [Path(path).resolve() for path in paths]
    twice = [str(path) for index, path in enumerate(paths) if places[index] in places[:index]]
    if twice:
        raise BadInput(Problem("compare", "different runs", f"{', '.join(twice)} more than once"))
    return [RunDir.open(path) for path in paths]


def _check_scored(runs: Sequence[RunDir], split: str) -> None:
    """Refuse runs without predictions of a split, which is then no name to make a path of."""
    problems = []
    for run in runs:
        if split in (saved := run.prediction_splits()):
            continue
        remedy = "Score all runs on one file with `evaluate`."
        if split in SCORED_SPLITS and run.read_manifest().get("status") != "complete":
            remedy = FINISH
        elif saved:
            remedy = f"{remedy[:-1]}, or name a split of all runs with @{{split}}."
        found = f"those of {', '.join(saved)}" if saved else "none"
        problems.append(Problem(str(run.path), f"saved predictions of '{split}'", found, remedy))
    if problems:
        raise BadInput(problems)


def _check_labelled(runs: Sequence[RunDir], saved: Sequence[Predictions], split: str) -> None:
    problems = []
    for run, one in zip(runs, saved, strict=True):
        if one.labels is None or not len(one):
            what = "no labels" if one.labels is None else "no rows"
            problems.append(Problem(str(run.prediction_file(split)), "labelled predictions", what))
    if problems:
        raise BadInput(problems)


def _check_same_rows(runs: Sequence[RunDir], saved: Sequence[Predictions], split: str) -> None:
    problems = [
        Problem(
            str(run.prediction_file(split)),
            f"the rows and classes of {runs[0].path}",
            difference,
            "Compare runs of the same data, or score all of them on one file with `evaluate`.",
        )
        for run, one in zip(runs[1:], saved[1:], strict=True)
        if (difference := _difference(saved[0], one))
    ]
    if problems:
        raise BadInput(problems)


def _difference(first: Predictions, other: Predictions) -> str:
    """Describe how another run's rows or classes differ from the first's; empty if they do not."""
    if sorted(first.label_names) != sorted(other.label_names):
        unknown = [name for name in other.label_names if name not in first.label_names]
        missing = [name for name in first.label_names if name not in other.label_names]
        parts = [
            f"{what} {', '.join(names[:LISTED])}{' ...' if len(names) > LISTED else ''}"
            for what, names in (("without", missing), ("with", unknown))
            if names
        ]
        return f"classes {' and '.join(parts)}"
    here, there = Counter(first.text_sha256), Counter(other.text_sha256)
    absent, extra = (here - there).total(), (there - here).total()
    relabelled = (_labelled_texts(first) - _labelled_texts(other)).total() - absent
    counts = ((absent, "of them missing"), (extra, "others"), (relabelled, "with another label"))
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)


def _labelled_texts(saved: Predictions) -> Counter[tuple[str, str]]:
    labels: Sequence[int] = [] if saved.labels is None else saved.labels.tolist()
    return Counter(
        (text, saved.label_names[label]) for text, label in zip(saved.text_sha256, labels, strict=True)
    )
