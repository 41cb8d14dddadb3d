"""The recipe's `data.slice_columns`: values of further columns follow their rows into the splits."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from submillion.data.corpus import Corpus, load_corpus
from submillion.data.in_memory import labelled_rows
from submillion.errors import BadInput
from submillion.recipe import DataRecipe

ROWS = [
    (f"text {row}", ("no", "yes")[row % 2], f"source {row % 3}" if row % 5 else "", row) for row in range(60)
]


def write(path: Path, header: tuple[str, ...] = ("text", "label", "source", "year")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *ROWS])
    return path


def load(train: Path, columns: list[str], **options: str) -> Corpus:
    return load_corpus(DataRecipe(train=str(train), slice_columns=columns, **options), 42)


def test_the_values_follow_their_rows_into_every_split(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv")
    corpus = load(train, ["source", "year"])
    source_of = {text: source for text, _, source, _ in ROWS}
    assert [split.name for split in corpus.splits] == ["train", "validation"]
    for split in corpus.splits:
        assert list(split.extra) == ["source", "year"]
        assert list(split.extra["source"]) == [source_of[text] for text in split.texts]
        assert [f"text {year}" for year in split.extra["year"]] == list(split.texts)
    assert load(train, []).train.extra == {}
    # The rows that are trained on do not depend on the columns.
    assert load(train, []).train.fingerprint == corpus.train.fingerprint


def test_text_and_label_columns_may_be_slice_columns_too(tmp_path: Path) -> None:
    corpus = load(write(tmp_path / "train.csv"), ["label", "text"])
    assert [corpus.label_names[label] for label in corpus.train.labels] == corpus.train.extra["label"]
    assert list(corpus.train.texts) == corpus.train.extra["text"]


def test_a_missing_column_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv")
    with pytest.raises(BadInput, match=r"expected a data\.slice_columns column 'sorce'.*'source'\?"):
        load(train, ["sorce"])
    test = write(tmp_path / "test.csv", ("text", "label", "origin", "year"))
    with pytest.raises(BadInput, match=r"test\.csv: expected a data\.slice_columns column 'source'"):
        load(train, ["source"], test=str(test))


def test_rows_from_memory_have_no_further_columns() -> None:
    rows = labelled_rows(["a b", "c d"] * 4, ["x", "y"] * 4)
    data = DataRecipe(train="memory", slice_columns=["source"])
    with pytest.raises(BadInput, match="data.slice_columns"):
        load_corpus(data, 42, train_rows=rows)


def test_a_list_can_be_written_with_commas() -> None:
    recipe = DataRecipe.model_validate({"train": "x.csv", "slice_columns": "source, year"})
    assert recipe.slice_columns == ["source", "year"]
