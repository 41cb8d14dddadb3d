"""The labelled texts of a run: read from files or memory, checked, freed of leaks, and split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.data import checks
from submillion.data.corpus_sources import fetch_sources, origin, read_split, source_labels, source_report
from submillion.data.in_memory import write_rows
from submillion.data.labels import class_indices, first_number, label_names
from submillion.data.readers import read_rows
from submillion.data.rows import ClassValue, LabelledRows
from submillion.data.split import stratified_sample, stratified_split
from submillion.errors import BadInput, Problem
from submillion.recipe import DataRecipe
from submillion.sources.fetch import FetchedData, fetch_data

SPLITS = ("train", "validation", "test")


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

    @property
    def splits(self) -> list[Split]:
        """Train, validation and, if the data has one, test."""
        return [split for split in (self.train, self.validation, self.test) if split is not None]

    @property
    def classes(self) -> list[ClassValue]:
        """The classes as the caller wrote them, in the order of `label_names`: 0 or True, not "0" or "true"."""
        return [self.class_values.get(name, name) for name in self.label_names]


def load_corpus(
    data: DataRecipe, seed: int, progress: bool = True, train_rows: LabelledRows | None = None
) -> Corpus:
    """Fetch, read, check and split the data of a recipe.

    Args:
        data: the recipe's section.
        seed: of the validation split and of `limit`.
        progress: show downloads on standard error.
        train_rows: training rows from memory (`in_memory.labelled_rows`); `data.train` is then not read.

    Raises:
        BadInput: a source or a file cannot be read, labels do not fit together, or there are too few rows.
    """
    if train_rows is not None and data.slice_columns:
        found = f"{', '.join(data.slice_columns)}, and texts from memory"
        remedy = "Omit it, or train from a file that has these columns."
        raise BadInput(Problem("@{data.slice_columns}", "columns of a file", found, remedy))
    sources = fetch_sources(data, progress, train_rows is not None)
    splits = {
        name: train_rows if train_rows is not None and name == "train" else read_split(data, name, source)
        for name, source in sources.items()
    }
    return corpus_from(splits, sources, data, seed)


def corpus_from(
    rows: Mapping[str, LabelledRows], sources: Mapping[str, FetchedData], data: DataRecipe, seed: int
) -> Corpus:
    """Check and split rows that have been read.

    Args:
        rows: by split, `train` among them; they stay unchanged.
        sources: where the rows of each split come from.
        data: the recipe's section; decides about class names, duplicates, validation rows and the limit.
        seed: of the validation split and of `limit`.

    Raises:
        BadInput: labels do not fit together, or there are too few rows.
    """
    splits = dict(rows)
    _check_classes(splits["train"])
    names = label_names(data.labels or source_labels(data, sources, splits["train"]), splits)
    first = first_number(splits["train"], names)
    for name, part in splits.items():
        splits[name] = replace(part, classes=class_indices(name, part, names, first))
    class_values = _values_of_classes(splits["train"], names)
    findings = _clean(data, splits, names)
    held_out = _hold_out(data, seed, splits, sources["train"].name)
    if data.limit:
        for name, part in splits.items():
            splits[name] = part.take(stratified_sample(part.classes, data.limit, seed, part.texts))
        notices.emit("limit", f"at most {data.limit:,} rows of each split are used (data.limit).")
    made = {
        name: Split(name, part.ids, part.texts, part.classes, part.extra) for name, part in splits.items()
    }
    if "test" not in made:
        notices.emit("no_test", "the data has no test split: this run is scored on its validation rows only.")
    report = {
        **origin(sources["train"]),
        "labels": names,
        "splits": {
            name: checks.balance(name, splits[name], names) | {"fingerprint": made[name].fingerprint}
            for name in SPLITS
            if name in made
        },
        "sources": {name: source_report(source, splits[name]) for name, source in sources.items()},
        "checks": findings,
        "validation": held_out,
        "limit": data.limit,
    }
    return Corpus(made["train"], made["validation"], made.get("test"), names, report, class_values)


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
    names: Sequence[str],
    name: str,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
) -> Split:
    """Read a further labelled file with the classes of a trained run.

    Args:
        path: the file.
        names: the run's class names in order.
        name: of the split.
        text: text column, or several; None finds it.
        label: label column; None finds it.

    Raises:
        BadInput: the file cannot be read, or has labels that the run does not know.
    """
    return labelled_split(read_rows([path], text, label), names, name)


def labelled_split(rows: LabelledRows, names: Sequence[str], name: str) -> Split:
    """Return rows, of a file or from memory, as a split with the classes of a trained run.

    Args:
        rows: labelled rows.
        names: the run's class names in order.
        name: of the split.

    Raises:
        BadInput: a label is not among the run's classes.
    """
    rows = replace(rows, classes=class_indices(name, rows, names))
    checks.empty_texts(name, rows, drop=False)
    checks.duplicates(name, rows, names)
    return Split(name, rows.ids, rows.texts, rows.classes)


def _values_of_classes(train: LabelledRows, names: Sequence[str]) -> dict[str, ClassValue]:
    """Return the caller's own value of each class that has training rows; nothing for rows of files."""
    if not train.class_values:
        return {}
    return {
        names[index]: train.class_values[label]
        for label, index in zip(train.labels, train.classes, strict=True)
    }


def _check_classes(train: LabelledRows) -> None:
    labels = set(train.labels)
    if len(labels) < 2:
        raise BadInput(
            Problem(
                "@{labels}" if train.class_values else " and ".join(str(path) for path, _ in train.files),
                "training rows of at least two classes",
                f"{len(train):,} {'row' if len(train) == 1 else 'rows'}, all of class '{labels.pop()}'",
            )
        )


def _clean(data: DataRecipe, splits: dict[str, LabelledRows], names: Sequence[str]) -> dict[str, Any]:
    """Check every split, and drop training rows that are empty, duplicates or rows of another split."""
    findings: dict[str, Any] = {"empty_texts": {}, "duplicates": {}}
    for name, rows in splits.items():
        kept, findings["empty_texts"][name] = checks.empty_texts(name, rows, drop=name == "train")
        splits[name] = rows.take(kept)
        findings["duplicates"][name] = checks.duplicates(name, splits[name], names)
    if data.drop_duplicates:
        before = len(splits["train"])
        splits["train"] = splits["train"].take(checks.first_copies(splits["train"]))
        findings["duplicates"]["train"]["dropped"] = before - len(splits["train"])
    for name, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        if name in splits and other in splits:
            drop = name == "train" and data.drop_train_rows_in_test
            kept, finding = checks.overlap(splits[name], name, splits[other], other, drop)
            findings[f"{name}_rows_in_{other}"] = finding
            splits[name] = splits[name].take(kept)
    return findings


def _hold_out(data: DataRecipe, seed: int, splits: dict[str, LabelledRows], source: str) -> dict[str, Any]:
    """Hold out validation rows from the training rows, unless there are some; return how, for the manifest."""
    rows = splits["train"]
    if "validation" in splits:
        facts: dict[str, Any] = {"from": "source", "source": data.validation}
    else:
        train, validation = stratified_split(rows.classes, data.validation_size, seed, rows.texts)
        splits["train"], splits["validation"] = rows.take(train), rows.take(validation)
        facts = {
            "from": "train",
            "size": data.validation_size,
            "seed": seed,
            "order": "sha256 of seed and text",
        }
    few = [name for name in ("train", "validation") if not len(splits[name])]
    if few or len(set(splits["train"].classes)) < 2:
        raise BadInput(
            Problem(
                source,
                "enough rows to train on two classes and to hold some out for validation",
                f"{len(rows):,} rows after checks, {len(splits['train'])} to train on and "
                f"{len(splits['validation'])} for validation",
                "Add rows, two or more of each class, or name a file with @{data.validation}.",
            )
        )
    return facts
