"""The recipe's `data.split`: a column of the training file divides its rows among training, validation and test."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from submillion import notices
from submillion.auto.decide import decide
from submillion.data.corpus import Corpus, load_corpus
from submillion.data.readers import read_rows
from submillion.data.split_column import split_column
from submillion.errors import BadInput
from submillion.recipe_data import DataRecipe
from support.tiny import shared_encoder

SPLITS = ("train", "train", "Dev", "test", "train", "training")


def write(file: Path, column: str = "split", splits: tuple[str, ...] = SPLITS, rows: int = 48) -> Path:
    """Write rows whose texts tell their number; every sixth is for testing, and every sixth for validation."""
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "label", column])
        for row in range(rows):
            label = "good" if row % 4 < 2 else "bad"
            writer.writerow([f"text number {row} is {label}", label, splits[row % len(splits)]])
    return file


def load(file: Path, **options: Any) -> Corpus:
    return load_corpus(DataRecipe(train=str(file), split="split", **options), 42)


def numbers(corpus: Corpus) -> dict[str, list[int]]:
    return {split.name: sorted(int(text.split()[2]) % 6 for text in split.texts) for split in corpus.splits}


def test_each_row_is_in_the_split_that_it_names(tmp_path: Path) -> None:
    file = write(tmp_path / "reviews.csv")
    corpus = load(file, validation=str(file))
    assert numbers(corpus) == {
        "train": [row for row in (0, 1, 4, 5) for _ in range(8)],
        "validation": [2] * 8,
        "test": [3] * 8,
    }
    sources = corpus.report["sources"]
    assert sources["train"]["sha256"] == sources["test"]["sha256"] == sources["validation"]["sha256"]
    assert not corpus.train.extra


@pytest.mark.parametrize(
    ("options", "used", "unused"),
    [
        ({}, {"train", "validation", "test"}, "Not used: those for validation. To use"),
        ({"test": "none"}, {"train", "validation"}, "Not used: those for validation and testing."),
        ({"test_size": 0.2}, {"train", "validation", "test"}, "Not used: those for validation and testing."),
    ],
)
def test_rows_of_other_splits_are_never_trained_on(
    options: dict[str, Any], used: set[str], unused: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "reviews.csv")
    with notices.collecting(quiet=True):
        corpus = load(file, **options)
        (notice,) = [one for one in notices.collected() if one["code"] == "split_column"]
    assert unused in notice["text"]
    found = numbers(corpus)
    assert set(found) == used
    assert not {2, 3} & {*found["train"], *found["validation"]}


def test_further_rows_are_for_training(tmp_path: Path) -> None:
    file = write(tmp_path / "reviews.csv")
    (tmp_path / "more.jsonl").write_text(
        "".join(
            json.dumps({"text": f"text number {6 * row + 1} more", "label": "good"}) + "\n"
            for row in range(9, 12)
        ),
        encoding="utf-8",
    )
    corpus = load(file, more=str(tmp_path / "more.jsonl"), validation=str(file))
    assert len(corpus.train) == 32 + 3


def test_a_row_without_a_split_and_a_file_without_training_rows_are_refused(tmp_path: Path) -> None:
    wrong = write(tmp_path / "wrong.csv", splits=("train", "test", "trial"))
    with pytest.raises(
        BadInput, match=r"column 'split': .* found 'trial' \(wrong.csv, line 4, .*data.split`=null"
    ):
        load(wrong)
    with pytest.raises(BadInput, match="expected rows for training, found rows for test alone"):
        load(write(tmp_path / "test.csv", splits=("test",)))
    with pytest.raises(BadInput, match="expected a data.split column 'split'"):
        load(write(tmp_path / "other.csv", column="part"))
    two = write(tmp_path / "two.csv", splits=("train", "test"))
    with pytest.raises(BadInput, match="a source with rows of the split validation, found .*train and test"):
        load(two, validation=str(two))
    with pytest.raises(BadInput, match="`data.split`: expected columns of a file, found split, and texts"):
        load_corpus(DataRecipe(train="memory", split="split"), 42, train_rows=read_rows([two]))


@pytest.mark.parametrize(
    ("column", "splits", "found"),
    [
        ("split", SPLITS, True),
        ("Data Split", ("train", "val"), True),
        ("split", ("a", "b"), False),
        ("split", ("train", ""), False),
        ("part", SPLITS, False),
    ],
)
def test_the_column_is_found_by_its_name_and_values(
    column: str, splits: tuple[str, ...], found: bool, tmp_path: Path
) -> None:
    file = write(tmp_path / "reviews.csv", column, splits)
    assert split_column(file, None) == (column if found else None)


def test_auto_uses_the_column_unless_it_is_told_not_to(tmp_path: Path) -> None:
    file = write(tmp_path / "reviews.csv")
    encoder = f"encoder.source={shared_encoder()}"
    decided = decide(file, overrides=[encoder], progress=False)
    assert decided.recipe.data.split == "split"
    assert (decided.facts["texts"]["rows"], decided.facts["texts"]["test_rows"]) == (32, 8)
    all_rows = decide(file, overrides=[encoder, "data.split=null"], progress=False)
    assert all_rows.recipe.data.split is None
    assert all_rows.facts["texts"]["rows"] == 48
