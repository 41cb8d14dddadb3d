"""The splits of a corpus: cleaned, and test and validation rows held out from the training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from submillion import notices
from submillion.data import checks
from submillion.data.folds import NEVER, fold_numbers, most_folds
from submillion.data.rows import LabelledRows
from submillion.data.split import stratified_split
from submillion.errors import BadInput, Problem
from submillion.recipe import DataRecipe
from submillion.recipe_data import CROSS_VALIDATION
from submillion.sources.fetch import FetchedData
from submillion.wording import plural

ORDER = "sha256 of seed and text"
FEW_VALIDATION_ROWS = 50
"""With fewer, one row is more than two points of accuracy, and chance may choose the best evaluation."""


def clean(data: DataRecipe, splits: dict[str, LabelledRows], names: Sequence[str]) -> dict[str, Any]:
    """Check the texts of every split, and drop training rows that are empty or duplicates.

    Args:
        data: the recipe's section.
        splits: rows with their classes, by split; changed in place.
        names: class names.

    Returns:
        The findings, for the manifest.

    Raises:
        BadInput: all training texts are equal.
    """
    findings: dict[str, Any] = {"empty_texts": {}, "duplicates": {}}
    for name, rows in splits.items():
        kept, findings["empty_texts"][name] = checks.empty_texts(name, rows, drop=name == "train")
        splits[name] = rows.take(kept)
        findings["duplicates"][name] = checks.duplicates(name, splits[name], names)
    if data.drop_duplicates:
        before = len(splits["train"])
        splits["train"] = splits["train"].take(checks.first_copies(splits["train"]))
        findings["duplicates"]["train"]["dropped"] = before - len(splits["train"])
    checks.texts_differ(splits["train"])
    return findings


def hold_out_test(
    data: DataRecipe,
    seed: int,
    splits: dict[str, LabelledRows],
    sources: Mapping[str, FetchedData],
    findings: dict[str, Any],
    names: Sequence[str],
) -> dict[str, Any]:
    """Hold out test rows from the training rows if `data.test_size` asks for it.

    Args:
        data: the recipe's section.
        seed: of the draw.
        splits: rows with their classes, by split; changed in place.
        sources: by split; `test` without rows is a source whose rows have no labels.
        findings: of `clean`; those of the test rows are added.
        names: class names.

    Returns:
        Where the test rows come from, for the manifest.

    Raises:
        BadInput: no row can be held out.
    """
    if data.test_size is not None:
        rows = splits["train"]
        train, test = stratified_split(rows.classes, data.test_size, seed, rows.texts, held_out="test")
        splits["train"], splits["test"] = rows.take(train), rows.take(test)
        if not len(test):
            found = (
                f"{data.test_size:g} of {plural(len(rows), 'row')}, in which no class has two different texts"
            )
            raise BadInput(Problem("@{data.test_size}", "a share that gives at least one test row", found))
        _, findings["empty_texts"]["test"] = checks.empty_texts("test", splits["test"], drop=False)
        findings["duplicates"]["test"] = checks.duplicates("test", splits["test"], names)
        return {"from": "train", "size": data.test_size, "seed": seed, "order": ORDER}
    if "test" in splits:
        return {"from": "source", "source": data.test}
    if "test" in sources:
        return {"from": None, "unlabelled": sources["test"].name}
    return {"from": None}


def overlaps(data: DataRecipe, splits: dict[str, LabelledRows]) -> dict[str, Any]:
    """Drop training rows whose text is in the test split, and find the texts that other splits share.

    Args:
        data: the recipe's section.
        splits: rows with their classes, by split; changed in place.

    Returns:
        The findings, for the manifest.

    Raises:
        BadInput: the rows that are left have fewer than two classes.
    """
    findings = {}
    for name, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        if name in splits and other in splits:
            drop = name == "train" and data.drop_train_rows_in_test
            kept, finding = checks.overlap(splits[name], name, splits[other], other, drop)
            findings[f"{name}_rows_in_{other}"] = finding
            if finding["dropped"] and len({splits[name].classes[row] for row in kept}) < 2:
                raise BadInput(_all_copied(other, finding["dropped"], len(splits[name])))
            splits[name] = splits[name].take(kept)
    return findings


def _all_copied(other: str, dropped: int, rows: int) -> Problem:
    """Return the problem with test or validation texts without which the training rows are too few."""
    found = f"those of {dropped:,} of {plural(rows, 'training row')}, which are dropped as copies"
    remedy = f"Name other texts, or hold some of the training texts out with @{{data.{other}_size}}."
    expected = f"{other} texts that leave training rows of two classes"
    return Problem(f"@{{data.{other}}}", expected, found, remedy)


def hold_out_validation(
    data: DataRecipe, seed: int, splits: dict[str, LabelledRows], source: str, names: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Hold out validation rows from the training rows, unless the recipe names some.

    Args:
        data: the recipe's section.
        seed: of the draw.
        splits: rows with their classes, by split; changed in place.
        source: of the training rows, for messages.
        names: class names.

    Returns:
        Where the validation rows come from, for the manifest; and the classes of one row, which is not held out.

    Raises:
        BadInput: there are too few rows to train and to validate.
    """
    rows = splits["train"]
    if "validation" in splits:
        facts: dict[str, Any] = {"from": "source", "source": data.validation}
    else:
        train, validation = stratified_split(rows.classes, data.validation_size, seed, rows.texts)
        splits["train"], splits["validation"] = rows.take(train), rows.take(validation)
        facts = {"from": "train", "size": data.validation_size, "seed": seed, "order": ORDER}
    few = [name for name in ("train", "validation") if not len(splits[name])]
    if few or len(set(splits["train"].classes)) < 2:
        raise BadInput(
            Problem(
                source,
                "enough rows to train on two classes and to hold some out for validation",
                f"{plural(len(rows), 'row')} after checks, {len(splits['train'])} to train on and "
                f"{len(splits['validation'])} for validation",
                "Add rows, two or more of each class, or name a file with @{data.validation}.",
            )
        )
    _notice_few(len(splits["validation"]))
    return facts, _rare(rows, names) if facts["from"] == "train" else []


def _notice_few(validation_rows: int) -> None:
    """Say so if there are too few validation rows to choose an evaluation by."""
    if validation_rows < FEW_VALIDATION_ROWS:
        notices.emit(
            "few_validation_rows",
            f"{plural(validation_rows, 'validation row')}: one is {100 / validation_rows:.1f} points of accuracy, so "
            "chance may choose the best evaluation. `submillion train FILE`, without a recipe, trains on all rows and "
            "cross-validates.",
            rows=validation_rows,
        )


def cross_validation(
    data: DataRecipe, seed: int, splits: dict[str, LabelledRows], source: str, names: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Make the validation rows of a cross-validation: the training rows that a fold's model predicts.

    Args:
        data: the recipe's section.
        seed: of the folds.
        splits: rows with their classes, by split; `validation` is added.
        source: of the training rows, for messages.
        names: class names.

    Returns:
        The folds, for the manifest; and the classes that have a single text, which is trained on and never predicted.

    Raises:
        BadInput: no class has two different texts.
    """
    rows = splits["train"]
    folds = min(data.folds, most_folds(rows.classes, rows.texts))
    if folds < 2 or len(set(rows.classes)) < 2:
        raise BadInput(
            Problem(
                source,
                "at least two classes, one of them with two different texts, for a cross-validation",
                f"{plural(len(rows), 'row')} that have none (after the checks; texts with contradictory labels do not "
                "count)",
                "Add rows, two or more of each class, or name a file with @{data.validation}.",
            )
        )
    if folds < data.folds:
        notices.emit(
            "fewer_folds",
            f"the cross-validation has {folds} folds in place of {data.folds}: no class has more different texts.",
            folds=folds,
        )
    predicted = np.flatnonzero(fold_numbers(rows.classes, rows.texts, folds, seed) != NEVER)
    splits["validation"] = rows.take(predicted)
    facts = {"from": CROSS_VALIDATION, "folds": folds, "repeats": data.repeats, "seed": seed, "order": ORDER}
    absent = sorted(set(rows.classes) - set(splits["validation"].classes))
    rare = [names[index] for index in absent]
    _notice_not_validated(
        "classes_of_one_text",
        rare,
        "one text only, which is trained on in every fold and never predicted, so that the cross-validation says "
        "nothing about it",
    )
    return facts, rare


def _rare(rows: LabelledRows, names: Sequence[str]) -> list[str]:
    """Return the classes of one row, which is trained on and not held out, after a notice."""
    counts = Counter(rows.classes)
    rare = [names[index] for index, count in sorted(counts.items()) if count == 1]
    _notice_not_validated(
        "classes_of_one_row", rare, "one row only, which is trained on, so that validation has none"
    )
    return rare


def _notice_not_validated(code: str, names: Sequence[str], what: str) -> None:
    """Emit a notice about the classes, if any, that have no validation row; `what` says what they have."""
    if names:
        which = "class has" if len(names) == 1 else "classes have"
        some = checks.some_names(names)
        notices.emit(code, f"{len(names):,} {which} {what}: {some}.", classes=len(names))
