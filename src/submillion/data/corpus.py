"""The labelled texts of a run: read from files or memory, checked, freed of leaks, and split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.data import checks
from submillion.data.checked_rows import CheckedRows
from submillion.data.corpus_sources import announce_splits, origin, source_report, source_reports
from submillion.data.corrections import Corrections
from submillion.data.division import cross_validation, hold_out_validation
from submillion.data.evaluated_rows import agnews_names, labelled_only
from submillion.data.folds import Folds
from submillion.data.in_memory import write_rows
from submillion.data.labels import Classes, class_indices
from submillion.data.readers import read_rows
from submillion.data.rows import ClassValue, LabelledRows
from submillion.data.split import stratified_sample
from submillion.recipe import DataRecipe
from submillion.recipe_data import CROSS_VALIDATION
from submillion.run_format.splits import SPLITS
from submillion.sources.fetch import FetchedData, fetch_data


@dataclass(frozen=True)
class Split:
    """N labelled texts of one split."""

    name: str
    ids: Sequence[str]
    """The file's own ids, or running numbers in the order of the file before any row was dropped."""
    texts: Sequence[str]
    labels: list[int]
    """Class index per text [N]."""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values of the recipe's `data.slice_columns` [N], by column; "" for an empty cell."""
    place: Callable[[int], str] = field(default="".format, repr=False, compare=False)
    """Returns where a row comes from, such as `train.csv, line 7`; an empty text where that is not known."""

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all texts and labels, in order."""
        digest = hashlib.sha256()
        for text, label in zip(self.texts, self.labels, strict=True):
            data = text.encode()
            digest.update(f"{label} {len(data)} ".encode() + data)
        return digest.hexdigest()

    def text_sha256(self, row: int) -> str:
        """Return the sha256 of one text in utf-8, by which predictions are matched to texts."""
        return hashlib.sha256(self.texts[row].encode()).hexdigest()


@dataclass(frozen=True)
class Corpus:
    """The splits of a run; classes are numbered by their position in `label_names`."""

    train: Split
    validation: Split
    test: Split | None
    label_names: list[str]
    report: dict[str, Any]
    """Sources, counts, fingerprints and findings of the checks, as in the manifest."""
    class_values: dict[str, ClassValue] = field(default_factory=dict)
    """The caller's own value of each class name, for rows from memory."""
    corrections: Corrections | None = None
    """The corrections of training labels that the rows have, if the recipe names any."""

    @property
    def splits(self) -> list[Split]:
        """Train, validation and, if the data has one, test."""
        return [split for split in (self.train, self.validation, self.test) if split is not None]

    @property
    def folds(self) -> Folds | None:
        """The folds of the cross-validation whose predictions are those of `validation`; None without one."""
        facts = self.report["validation"]
        if facts["from"] != CROSS_VALIDATION:
            return None
        return Folds(self.train.labels, self.train.texts, facts["folds"], facts["repeats"], facts["seed"])

    @property
    def classes(self) -> list[ClassValue]:
        """The classes as the caller wrote them, in the order of `label_names`: 0 or True, not "0" or "true"."""
        return [self.class_values.get(name, name) for name in self.label_names]


def load_corpus(
    data: DataRecipe,
    seed: int,
    progress: bool = True,
    train_rows: LabelledRows | None = None,
    checked: CheckedRows | None = None,
) -> Corpus:
    """Fetch, read, check and split the data of a recipe.

    Args:
        data: the recipe's section.
        seed: of the validation split and of `limit`.
        progress: show downloads on standard error.
        train_rows: training rows from memory (`in_memory.labelled_rows`); `data.train` is then not read.
        checked: rows that have been read and checked already; nothing is read again if they are those of `data`.

    Raises:
        BadInput: a source or a file cannot be read, labels do not fit together, or there are too few rows.
    """
    if checked is None or not checked.serves(data, seed, train_rows):
        checked = CheckedRows.read(data, seed, progress, train_rows)
    checked.announce()
    return divided(checked, data, seed)


def corpus_from(
    rows: Mapping[str, LabelledRows], sources: Mapping[str, FetchedData], data: DataRecipe, seed: int
) -> Corpus:
    """Check and split rows that have been read.

    Args:
        rows: by split, `train` among them; they stay unchanged. No `test` if its rows have no labels.
        sources: where the rows of each split come from.
        data: the recipe's section; decides about class names, duplicates, held-out rows and the limit.
        seed: of the held-out rows and of `limit`.

    Raises:
        BadInput: labels do not fit together, or there are too few rows.
    """
    return divided(CheckedRows.of(rows, sources, data, seed), data, seed)


def divided(checked: CheckedRows, data: DataRecipe, seed: int) -> Corpus:
    """Hold out validation rows and apply the limit.

    Args:
        checked: the rows; they stay unchanged.
        data: the recipe's section.
        seed: of the held-out rows and of `limit`.

    Raises:
        BadInput: there are too few rows.
    """
    sources, splits, classes = checked.sources, dict(checked.splits), checked.classes
    names = classes.names
    announce_splits(data, sources["train"], checked.test)
    crossed = data.validation == CROSS_VALIDATION
    if not crossed:
        validation, rare = hold_out_validation(data, seed, splits, sources["train"].name, names)
    if data.limit:
        splits = _limited(splits, data.limit, seed)
    if crossed:  # of the rows that the limit leaves
        validation, rare = cross_validation(data, seed, splits, sources["train"].name, names)
    made = {
        name: Split(name, part.ids, part.texts, part.classes, part.extra, part.where)
        for name, part in splits.items()
    }
    report = {
        **origin(sources["train"]),
        "labels": names,
        "label_form": classes.form(),
        "splits": {
            name: checks.balance(name, splits[name], names, rare if name == "validation" else ())
            | {"fingerprint": made[name].fingerprint}
            for name in SPLITS
            if name in made
        },
        "sources": source_reports(sources, splits),
        "checks": checked.findings,
        "validation": validation,
        "test": checked.test,
        "limit": data.limit,
    } | ({"corrections": checked.corrected} if checked.corrections else {})
    parts = made["train"], made["validation"], made.get("test")
    return Corpus(*parts, names, report, checked.class_values, checked.corrections)


def _limited(splits: Mapping[str, LabelledRows], most: int, seed: int) -> dict[str, LabelledRows]:
    """Return at most `most` rows of each split, drawn by class."""
    notices.emit("limit", f"at most {most:,} rows of each split are used (data.limit).")
    return {
        name: part.take(stratified_sample(part.classes, most, seed, part.texts))
        for name, part in splits.items()
    }


def store_rows(corpus: Corpus, rows: LabelledRows, data: DataRecipe, path: Path) -> Corpus:
    """Write training rows from memory to a parquet file; return the corpus as it would be read from that file.

    `load_corpus` gives an equal corpus, report included, once `data.train` is `str(path)`.

    Args:
        corpus: made of `rows` with `data`.
        rows: as passed to `load_corpus`.
        data: the recipe's section, whose column names the file gets.
        path: the file, absolute.

    Raises:
        SubmillionError: the disk refused the write.
    """
    columns = write_rows(rows, path, data.text, data.label)
    source = fetch_data(str(path), progress=False)
    stored = replace(rows, files=[(path, "row")], columns=[columns])
    sources = corpus.report["sources"] | {"train": source_report(source, stored)}
    return replace(corpus, report=corpus.report | origin(source) | {"sources": sources})


def read_labelled(
    path: str | Path,
    classes: Classes,
    name: str,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    likely_encoding: str | None = None,
) -> Split:
    """Read a further labelled file with the classes of a trained run.

    Args:
        path: the file; its rows without a label are left out and counted.
        classes: of the run.
        name: of the split.
        text: text column, or several; None finds it.
        label: label column; None finds it.
        likely_encoding: of a file that is not utf-8, such as the run's; None detects it.

    Raises:
        BadInput: the file cannot be read, or has labels that the run does not know, or no labels.
    """
    rows = read_rows([path], text, label, likely_encoding=likely_encoding, skip_unlabelled=True)
    return labelled_split(agnews_names(Path(path), rows, classes), classes, name)


def labelled_split(rows: LabelledRows, classes: Classes, name: str) -> Split:
    """Return rows, of a file or from memory, as a split with the classes of a trained run.

    Args:
        rows: labelled rows.
        classes: of the run.
        name: of the split.

    Raises:
        BadInput: a label is not among the run's classes.
    """
    rows = labelled_only({name: rows}, classes)[name]
    rows = replace(rows, classes=class_indices(name, rows, classes))
    checks.empty_texts(name, rows, drop=False)
    checks.duplicates(name, rows, classes.names)
    checks.balance(name, rows, classes.names)
    return Split(name, rows.ids, rows.texts, rows.classes)
