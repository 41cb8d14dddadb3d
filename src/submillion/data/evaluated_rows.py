"""Rows that are scored and not trained on: those without a label are left out, numbers get the names of their file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from submillion import notices
from submillion.data.label_cell import TO_PREDICT
from submillion.data.labels import Classes
from submillion.data.missing_labels import AMBIGUOUS, MARKS, leave_out
from submillion.data.row_problems import NoLabels
from submillion.data.rows import LabelledRows
from submillion.errors import Problem
from submillion.sources.convert import AGNEWS_CLASSES, converted


def labelled_only(splits: Mapping[str, LabelledRows], classes: Classes) -> dict[str, LabelledRows]:
    """Return splits in which scored rows whose label stands for none are left out and counted in a notice.

    Args:
        splits: rows by split; those of `train` are unchanged. `test` is left out if none of its rows has a label.
        classes: of the run.

    Raises:
        NoLabels: a split other than `test` has no labels.
    """
    labelled = {}
    for name, rows in splits.items():
        marks = {
            label
            for label in set(rows.labels)
            if label.lower() in MARKS | AMBIGUOUS and classes.find(label) is None
        }
        if name == "train" or not marks:
            labelled[name] = rows
            continue
        if not marks.issuperset(rows.labels):
            labelled[name] = leave_out(name, rows, marks)
        elif name == "test":
            announce_unlabelled(rows.files[0][0].name)
        else:
            raise NoLabels(Problem(f"{name} labels", "classes of the run", "none in any row", TO_PREDICT))
    return labelled


def announce_unlabelled(name: str) -> None:
    """Report that the test rows have no labels.

    Args:
        name: of their file.
    """
    notices.emit(
        "test_unlabelled",
        f"{name}: the test rows have no labels and are left for `predict`; this run is scored on its validation rows "
        "only.",
    )


def agnews_names(file: Path, rows: LabelledRows, classes: Classes) -> LabelledRows:
    """Return rows of a file in AG News' form with the published names of its numbers, if these are the run's classes.

    The run's own order of the classes may be another, in which the numbers would mean other classes.
    """
    read_from = rows.files[0][0]
    if set(classes.names) != set(AGNEWS_CLASSES) or read_from == file or read_from.suffix != ".csv":
        return rows
    if not converted(file).is_agnews:
        return rows
    return replace(rows, labels=[AGNEWS_CLASSES[int(label) - 1] for label in rows.labels])
