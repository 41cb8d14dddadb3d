"""Test rows: held out from one file, left out if they have no labels, or not wanted."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from submillion import notices
from submillion.data.corpus import Corpus, load_corpus, read_labelled
from submillion.data.in_memory import labelled_rows
from submillion.data.labels import Classes
from submillion.data.row_problems import NoLabels
from submillion.errors import BadInput
from submillion.recipe import DataRecipe, Recipe


def write(file: Path, labels: Sequence[Any] | None, word: str = "text") -> Path:
    file.parent.mkdir(exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as handle:
        header = ("text",) if labels is None else ("text", "label")
        rows: list[Any] = [(f"{word} {row}",) for row in range(20 if labels is None else len(labels))]
        if labels is not None:
            rows = [(*row, label) for row, label in zip(rows, labels, strict=True)]
        csv.writer(handle).writerows([header, *rows])
    return file


def load(train: Path, **options: Any) -> Corpus:
    return load_corpus(DataRecipe(train=str(train), **options), 42, progress=False)


def codes() -> list[str]:
    return [notice["code"] for notice in notices.collected()]


# -- rows without labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [None, [""] * 6, ["-1"] * 6, [-1.0] * 6, ["None"] * 6, ["?", "nan"] * 3])
def test_a_test_file_without_labels_is_left_out_and_said_once(
    tmp_path: Path, labels: list[Any] | None
) -> None:
    write(tmp_path / "data" / "train.csv", [0, 1] * 20)
    write(tmp_path / "data" / "test.csv", labels, "new")
    corpus = load(tmp_path / "data")
    assert corpus.test is None
    assert corpus.report["test"] == {"from": None, "unlabelled": str(tmp_path / "data")}
    assert "test" not in corpus.report["sources"] and "test" not in corpus.report["splits"]
    about_test = [code for code in codes() if "test" in code or code == "rows_left_out"]
    assert about_test == ["test_unlabelled"]
    named = load(tmp_path / "data" / "train.csv", test=str(tmp_path / "data" / "test.csv"))
    assert named.test is None and named.train.fingerprint == corpus.train.fingerprint


def test_hidden_labels_of_a_hub_file_are_no_labels(tmp_path: Path) -> None:
    features = {"label": {"_type": "ClassLabel", "names": ["neg", "pos"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for split, labels in {"train": [1, 0] * 20, "test": [-1] * 5}.items():
        texts = [f"{split} {row}" for row in range(len(labels))]
        table = pa.table({"text": texts, "label": labels}).replace_schema_metadata(metadata)
        pq.write_table(table, tmp_path / f"{split}.parquet")
    corpus = load(tmp_path)
    assert corpus.test is None and "test_unlabelled" in codes()
    assert corpus.label_names == ["neg", "pos"]
    assert corpus.report["label_form"] == {"numbered": True, "first": 0}


def test_rows_without_labels_are_left_out_of_the_test_split_and_counted(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", ["0.0", "1.0"] * 20)
    test = write(tmp_path / "test.csv", ["0", "", "1", "-1", "nan", "1"], "new")
    corpus = load(train, test=str(test))
    assert corpus.test is not None and list(corpus.test.texts) == ["new 0", "new 2", "new 5"]
    assert corpus.test.labels == [0, 1, 1]
    assert [notice["text"] for notice in notices.collected() if notice["code"] == "rows_left_out"] == [
        "test.csv: 1 row left out: 1 without a label.",
        "test: 2 rows without a label ('-1', 'nan') left out.",
    ]


def test_minus_one_is_a_class_where_training_rows_have_it(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", ["-1.0", "0.0", "1.0"] * 20)
    corpus = load(train, test=str(write(tmp_path / "test.csv", [-1, -1], "new")))
    assert corpus.test is not None and corpus.test.labels == [0, 0]


def test_training_and_later_rows_need_labels(tmp_path: Path) -> None:
    classes = Classes(["0", "1"])
    unlabelled = write(tmp_path / "new.csv", ["-1"] * 4)
    with pytest.raises(NoLabels, match="can be predicted"):
        read_labelled(unlabelled, classes, "new")
    with pytest.raises(NoLabels):
        load(write(tmp_path / "train.csv", [0, 1] * 9), validation=str(unlabelled))
    with pytest.raises(BadInput, match=r"train\.csv, line 3: expected a label"):
        load(write(tmp_path / "train.csv", ["0", "", "1"]))


# -- no test rows -------------------------------------------------------------------------------------------


def test_none_means_no_test_rows_even_if_the_folder_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data" / "train.csv", [0, 1] * 20)
    write(tmp_path / "data" / "test.csv", [0, 1] * 3, "new")
    assert load(tmp_path / "data").test is not None
    corpus = load(tmp_path / "data", test="none")
    assert corpus.test is None and corpus.report["test"] == {"from": None}
    assert "no_test" not in codes()
    # A file of this name is no test split either, and the recipe of a run still says `none`.
    write(tmp_path / "none", [0, 1])
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.load("r8", ["data.test=none"])
    assert recipe.with_absolute_paths().data.test == "none"


# -- held out -----------------------------------------------------------------------------------------------


def test_a_share_of_one_file_is_held_out_for_the_test(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", ["a", "a", "b", "a"] * 50)
    corpus = load(train, test_size=0.2)
    assert corpus.test is not None
    assert [len(split) for split in corpus.splits] == [144, 16, 40]
    assert corpus.test.labels.count(1) == 10
    parts = [set(split.texts) for split in corpus.splits]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 200
    assert corpus.report["test"] == {
        "from": "train",
        "size": 0.2,
        "seed": 42,
        "order": "sha256 of seed and text",
    }
    assert corpus.report["checks"]["empty_texts"]["test"]["rows"] == 0
    assert load(train, test_size=0.2).test == corpus.test
    # The draw depends on seed and texts alone, and differs from that of the validation rows.
    other = load_corpus(DataRecipe(train=str(train), test_size=0.2), 43, progress=False)
    assert other.test is not None and set(other.test.texts) != set(corpus.test.texts)
    assert set(load(train, validation_size=0.2).validation.texts) != set(corpus.test.texts)


def test_the_split_without_test_size_is_unchanged(tmp_path: Path) -> None:
    corpus = load(write(tmp_path / "train.csv", ["a", "b"] * 20))
    # Runs of earlier versions are verified by this draw: the first two of each class by the hash of seed and text.
    assert sorted(corpus.validation.texts) == ["text 13", "text 2", "text 3", "text 34"]


def test_copies_and_empty_texts_never_leak_into_the_test_rows(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    rows = [(f"text {row % 30}", "ab"[row % 2]) for row in range(120)] + [("", "a"), (" ", "b")]
    with file.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("text", "label"), *rows])
    corpus = load(file, test_size=0.3)
    assert corpus.test is not None and all(text.strip() for text in corpus.test.texts)
    assert not set(corpus.test.texts) & {*corpus.train.texts, *corpus.validation.texts}


def test_test_rows_of_the_source_are_not_used_beside_test_size(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train.csv", [0, 1] * 20)
    write(tmp_path / "data" / "test.csv", [0, 1] * 3, "new")
    corpus = load(tmp_path / "data", test_size=0.25)
    assert corpus.test is not None and len(corpus.test) == 10
    assert all(text.startswith("text") for text in corpus.test.texts) and "test_unused" in codes()


def test_rows_from_memory_can_be_held_out() -> None:
    rows = labelled_rows([f"text {row}" for row in range(40)], [True, False] * 20)
    corpus = load_corpus(DataRecipe(train="memory", test_size=0.25), 42, train_rows=rows)
    assert corpus.test is not None and len(corpus.test) == 10
    assert corpus.classes == [False, True]


def test_sixteen_rows_give_valid_splits(tmp_path: Path) -> None:
    corpus = load(write(tmp_path / "few.csv", ["a", "b"] * 8), test_size=0.25)
    assert [sorted(split.labels) for split in corpus.splits] == [[0] * 5 + [1] * 5, [0, 1], [0, 0, 1, 1]]


def test_a_share_of_copies_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text("text,label\n" + "one,a\ntwo,b\n" * 9, encoding="utf-8")
    with pytest.raises(
        BadInput, match=r"`data\.test_size`: expected a share that gives at least one test row"
    ):
        load(file, test_size=0.2)


@pytest.mark.parametrize(
    ("labels", "values", "named"),
    [
        ([0, 1, 2], [0, 1, 2], ["low", "middle", "high"]),
        ([1, 2], [1, 2, 3], ["low", "middle", "high"]),
        ([False, True], [False, True], ["no", "yes"]),
        ([0.0, 1.0], [0.0, 1.0], ["no", "yes"]),
    ],
)
def test_classes_named_by_the_recipe_come_back_as_the_callers_values(
    labels: list[Any], values: list[Any], named: list[str]
) -> None:
    if len(labels) < len(values):
        labels = [*labels, 3]
    rows = labelled_rows([f"text {row}" for row in range(10 * len(labels))], labels * 10)
    corpus = load_corpus(DataRecipe(train="memory", labels=named), 42, train_rows=rows)
    assert corpus.label_names == named and corpus.classes == values
    assert [type(value) for value in corpus.classes] == [type(value) for value in values]
