"""The rows of a recipe's sources, read and checked: what a corpus is divided from, whoever asks first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from submillion import notices
from submillion.data.class_checks import check_classes
from submillion.data.corpus_sources import fetch_sources, read_splits, source_names
from submillion.data.corrections import Corrections, correct, read_corrections
from submillion.data.division import clean, hold_out_test, overlaps
from submillion.data.evaluated_rows import labelled_only
from submillion.data.labels import Classes, class_indices, class_names, one_spelling
from submillion.data.missing_labels import without_marks
from submillion.data.rows import ClassValue, LabelledRows
from submillion.errors import BadInput, Problem
from submillion.recipe import DataRecipe
from submillion.recipe_data import CROSS_VALIDATION
from submillion.sources.fetch import FetchedData

OF_THE_DIVISION = (
    "validation_size",
    "folds",
    "repeats",
    "limit",
    "max_length",
    "windows",
    "max_unknown_tokens",
)
"""Fields of the recipe's section that change neither what is read nor how it is checked."""


@dataclass(frozen=True)
class CheckedRows:
    """Rows that are read, checked and freed of leaks; no validation row is held out from the training rows yet."""

    data: DataRecipe
    """The section that they were read for."""
    seed: int
    sources: dict[str, FetchedData]
    """By split."""
    splits: dict[str, LabelledRows]
    """With their classes."""
    classes: Classes
    class_values: dict[str, ClassValue]
    """The caller's own value of each class name, for rows from memory."""
    corrections: Corrections | None
    corrected: dict[str, Any]
    """Counts of the corrected labels."""
    findings: dict[str, Any]
    """Of the checks, for the manifest."""
    test: dict[str, Any]
    """Where the test rows are from, for the manifest."""
    memory: LabelledRows | None = None
    """The training rows as the caller passed them, if they are from memory."""
    notices: tuple[dict[str, Any], ...] = ()
    """Those of the reading and the checks, where they have not been given yet."""

    @classmethod
    def unannounced(
        cls, data: DataRecipe, seed: int, progress: bool, train_rows: LabelledRows | None = None
    ) -> Self:
        """Read and check the rows of a recipe, and hold back the notices until `announce`; arguments as in `read`.

        Raises:
            BadInput: as in `read`; the notices are given first, as they may explain it (another sheet is not read).
        """
        held: list[dict[str, Any]] = []
        try:
            with notices.collecting(quiet=True):
                try:
                    rows = cls.read(data, seed, progress, train_rows)
                finally:
                    held += notices.collected()
        except BadInput:
            notices.repeat(held)
            raise
        return replace(rows, notices=tuple(held))

    @classmethod
    def read(
        cls, data: DataRecipe, seed: int, progress: bool, train_rows: LabelledRows | None = None
    ) -> Self:
        """Fetch, read and check the rows of a recipe.

        Args:
            data: the recipe's section.
            seed: of test rows that are held out.
            progress: show downloads on standard error.
            train_rows: training rows from memory; `data.train` is then not read.

        Raises:
            BadInput: a source or a file cannot be read, labels do not fit together, or there are too few rows.
        """
        of_a_file = {"slice_columns": data.slice_columns, "split": [data.split] if data.split else []}
        for field, columns in of_a_file.items():
            if train_rows is not None and columns:
                found = f"{', '.join(columns)}, and texts from memory"
                remedy = "Omit it, or train from a file that has these columns."
                raise BadInput(Problem(f"@{{data.{field}}}", "columns of a file", found, remedy))
        sources = fetch_sources(data, progress, train_rows is not None)
        rows = cls.of(read_splits(data, sources, train_rows), sources, data, seed)
        return replace(rows, memory=train_rows)

    @classmethod
    def of(
        cls,
        rows: Mapping[str, LabelledRows],
        sources: Mapping[str, FetchedData],
        data: DataRecipe,
        seed: int,
    ) -> Self:
        """Check rows that have been read; arguments and errors as in `corpus.corpus_from`."""
        splits = dict(rows)
        named = data.labels or source_names(data, sources, splits["train"])
        splits["train"] = without_marks(splits["train"], named, data.skip_unlabelled)
        splits["train"] = one_spelling(splits["train"], named)
        of_classes = check_classes(splits["train"], named)
        names = class_names(named, splits["train"])
        classes = Classes(names, numbered=bool(named)).of_training(splits["train"])
        splits = labelled_only(splits, classes)
        for name, part in splits.items():
            splits[name] = replace(part, classes=class_indices(name, part, classes))
        class_values = _values_of_classes(splits["train"], classes)
        corrections = read_corrections(data.corrections) if data.corrections else None
        corrected: dict[str, Any] = {}
        if corrections:
            splits["train"], corrected = correct(splits["train"], corrections, classes)
        findings = clean(data, splits, names) | {"classes": of_classes}
        test = hold_out_test(data, seed, splits, sources, findings, names)
        findings |= overlaps(data, splits)
        return cls(
            data, seed, dict(sources), splits, classes, class_values, corrections, corrected, findings, test
        )

    def serves(self, data: DataRecipe, seed: int, train_rows: LabelledRows | None) -> bool:
        """Return whether `read` would give these rows for another section and seed, if no file has changed."""
        return seed == self.seed and train_rows is self.memory and _read_for(data) == _read_for(self.data)

    def announce(self) -> None:
        """Give the notices that were held back."""
        notices.repeat(self.notices)


def _read_for(data: DataRecipe) -> dict[str, Any]:
    """Return the fields that decide what is read and how it is checked."""
    fields = data.model_dump(exclude=set(OF_THE_DIVISION))
    # Both take the validation rows from the training rows, after the checks.
    if data.validation == CROSS_VALIDATION:
        fields["validation"] = None
    return fields


def _values_of_classes(train: LabelledRows, classes: Classes) -> dict[str, ClassValue]:
    """Return the caller's own value of each class; nothing for rows of files."""
    if not train.class_values:
        return {}
    values = {
        index: train.class_values[label] for label, index in zip(train.labels, train.classes, strict=True)
    }
    type_of = type(next(iter(values.values())))
    if classes.first is not None and type_of is not str:  # also for the numbers of classes without rows
        values = {index: type_of(index + classes.first) for index in range(len(classes.names))} | values
    return {classes.names[index]: value for index, value in sorted(values.items())}
