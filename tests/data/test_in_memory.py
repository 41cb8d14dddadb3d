"""Texts and labels from lists, arrays and Series, and the parquet file that a run keeps them in."""

from __future__ import annotations

import enum
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from submillion.data.corpus import Corpus, labelled_split, load_corpus, store_rows
from submillion.data.corpus_sources import with_rows_from_memory
from submillion.data.in_memory import labelled_rows, write_rows
from submillion.data.labels import Classes
from submillion.data.readers import read_rows
from submillion.errors import BadInput
from submillion.recipe import DataRecipe, Recipe

TEXTS = ["good", "bad", "fine, really", "größer\nand longer"]
LABELS = [1, 0, 1, 0]


class Mark(str, enum.Enum):  # noqa: UP042 - the form before StrEnum, which `str()` names after the member
    GOOD = "good"
    BAD = "bad"


class PolarsSeries:
    """The part of a polars Series that is used: `shape` and `to_list`."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        self.shape = (len(values),)

    def __iter__(self) -> Any:
        raise AssertionError("iterated instead of converted")

    def to_list(self) -> list[Any]:
        return self.values


@pytest.mark.parametrize(
    "column",
    [
        list,
        tuple,
        iter,
        np.array,
        lambda values: np.array(values, dtype=object),
        lambda values: pd.Series(values, index=range(10, 10 + len(values))),
        lambda values: pd.Series(values, dtype="category"),
        pd.Index,
        PolarsSeries,
        pa.array,
        lambda values: pa.chunked_array([values[:1], values[1:]]),
    ],
)
def test_every_form_of_a_column_gives_the_same_rows(column: Any) -> None:
    rows = labelled_rows(column(TEXTS), column(LABELS))
    assert rows.texts == TEXTS and rows.ids == ["0", "1", "2", "3"]
    assert rows.labels == ["1", "0", "1", "0"]
    assert rows.class_values == {"1": 1, "0": 0}
    assert all(type(value) is int for value in rows.class_values.values())


@pytest.mark.parametrize(
    ("labels", "names", "values"),
    [
        (["b", "a"], ["b", "a"], ["b", "a"]),
        ([True, False], ["true", "false"], [True, False]),
        ([2.0, 10.0], ["2", "10"], [2.0, 10.0]),
        ([0.5, 1.0], ["0.5", "1"], [0.5, 1.0]),
        (np.array([0.5, 0.1], dtype=np.float32), ["0.5", "0.1"], [0.5, float(np.float32(0.1))]),
        (np.array([2, 10], dtype=np.uint8), ["2", "10"], [2, 10]),
        (np.array([True, False]), ["true", "false"], [True, False]),
        (np.array(["b", "a"]), ["b", "a"], ["b", "a"]),
        ([np.int64(-1), np.int64(1)], ["-1", "1"], [-1, 1]),
        ([" a", "b"], ["a", "b"], [" a", "b"]),
        ([Mark.GOOD, Mark.BAD], ["good", "bad"], ["good", "bad"]),
        ([2**63 - 1, -(2**63)], [str(2**63 - 1), str(-(2**63))], [2**63 - 1, -(2**63)]),
    ],
)
def test_a_class_has_a_name_and_keeps_the_callers_value(
    labels: Any, names: list[str], values: list[Any]
) -> None:
    rows = labelled_rows(["one", "two"], labels)
    assert rows.labels == names
    assert list(rows.class_values.values()) == values
    assert [type(value) for value in rows.class_values.values()] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ("good", ["a"], "`texts`: expected a one-dimensional column: .* found one str. Pass a list, also"),
        (["good"], {"a": 1}, "`labels`: expected a one-dimensional column: .* found one dict"),
        ({"good", "bad"}, [0, 1], "`texts`: expected a one-dimensional column: .* found one set"),
        (7, [0, 1], "`texts`: expected a one-dimensional column: .* found one int"),
        (np.array([["a", "b"]]), [0], r"`texts`: expected .* found one ndarray of shape \(1, 2\)"),
        (pd.DataFrame({"text": ["a"]}), [0], r"`texts`: expected .* found one DataFrame of shape \(1, 1\)"),
        (pa.table({"text": ["a"]}), [0], r"`texts`: expected .* found one Table of shape \(1, 1\)"),
        (["a", "b"], [0], "`texts` and `labels`: expected one label per text, found 2 texts and 1 labels"),
        ([], [], "`texts`: expected at least one text, found none"),
        (["a", 7, "b", 8], [0, 1, 0, 1], "`texts`, positions 1, 3: expected a text, found int"),
        ([b"a", "b"], [0, 1], "`texts`, position 0: expected a text, found bytes"),
        (["a", None], [0, 1], "`texts`, position 1: expected a text, found a missing value"),
        (["a", float("nan")], [0, 1], "`texts`, position 1: expected a text, found a missing value"),
        (pd.Series(["a", pd.NA]), [0, 1], "`texts`, position 1: expected a text, found a missing value"),
        (["a", "\ud800"], [0, 1], r"`texts`, position 1: expected text in unicode, found half a surrogate"),
        (["a", "b"], [0, None], "`labels`, position 1: expected a class: .* found a missing value"),
        (["a", "b"], pa.array([None, "x"]), "`labels`, position 0: expected a class: .* a missing value"),
        (["a", "b"], ["x", "  "], "`labels`, position 1: expected a class: .* found '  '"),
        (["a", "b"], [float("inf"), 1.0], "`labels`, position 0: expected a class: .* found inf"),
        (
            ["a", "b"],
            [2**63, 1],
            "`labels`, position 0: .* an integer beyond the range of int64. Convert the",
        ),
        (["a", "b"], [[0], [1]], "`labels`, positions 0, 1: expected a class: .* found list"),
        (["a", "b"], ["x", " x"], "`labels`, position 1: expected a class: .* found ' x' beside 'x'"),
        (
            ["a", "b", "c"],
            ["1", 1, "2"],
            r"`labels`: expected labels of one type, "
            r"found strings \(positions 0, 2\) and integers \(position 1\)\. Convert them to one type\.",
        ),
        (["a", "b"], [True, 1], r"found booleans \(position 0\) and integers \(position 1\)"),
    ],
)
def test_a_column_that_cannot_be_used_is_refused_with_positions(
    texts: Any, labels: Any, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        labelled_rows(texts, labels)


def test_at_most_ten_positions_are_named_and_all_problems_reported_at_once() -> None:
    with pytest.raises(BadInput) as refused:
        labelled_rows([None] * 13, ["x"] * 12 + [None])
    assert [problem.where for problem in refused.value.problems] == [
        "@{texts}, positions 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 3 more",
        "@{labels}, position 12",
    ]


def test_lists_need_neither_pandas_nor_torch() -> None:
    code = (
        "import sys\nfrom submillion.data.in_memory import labelled_rows\n"
        "labelled_rows(['a', 'b'], [0, 1])\n"
        "print(*sorted({'pandas', 'polars', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("text", "label"),
    [(None, None), ("review", "stars"), (["title", "body"], None), (["a", "A"], "b"), ("id", None)],
)
def test_written_rows_read_back_as_the_same_rows(tmp_path: Path, text: Any, label: str | None) -> None:
    rows = labelled_rows([*TEXTS, ""], ["b", "a", "b", "10", "9"])
    columns = write_rows(rows, tmp_path / "train.parquet", text, label)
    again = read_rows([tmp_path / "train.parquet"], text, label)
    assert (again.ids, again.texts, again.labels) == (rows.ids, rows.texts, rows.labels)
    assert again.examples([0, 4]) == rows.examples([0, 4]) == ["train.parquet, row 1", "train.parquet, row 5"]
    assert again.columns == [columns]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (None, "text"),
        (None, "Text"),
        (["a", "a"], None),
        ("label", None),
        ("a", "a"),
        (None, "id"),
        ("a", "ID"),
    ],
)
def test_columns_that_would_not_be_read_back_are_refused(
    tmp_path: Path, text: Any, label: str | None
) -> None:
    with pytest.raises(BadInput, match=r"`data.text` and `data.label`: expected columns of different names"):
        write_rows(labelled_rows(["a", "b"], [0, 1]), tmp_path / "train.parquet", text, label)
    assert not list(tmp_path.iterdir())
    named = Recipe.load("r8").with_data(text=text, label=label)
    with pytest.raises(BadInput, match="Leave them out"):
        with_rows_from_memory(named, [])


def some(count: int = 60) -> tuple[list[str], list[int]]:
    texts = [f"text {row}" for row in range(count)]
    return [*texts, "  ", "text 1", "text  2"], [*(row % 3 for row in range(count)), 0, 1, 0]


@pytest.mark.parametrize("data", [{}, {"text": "review", "drop_duplicates": True}, {"limit": 30}])
def test_stored_rows_give_the_same_corpus_when_they_are_read_again(
    tmp_path: Path, data: dict[str, Any]
) -> None:
    (tmp_path / "new.csv").write_text("review,label\ntext 5,2\nnew,1\nother,0\n", encoding="utf-8")
    recipe = DataRecipe(train="memory", test=str(tmp_path / "new.csv"), **data)
    rows = labelled_rows(*some())
    corpus = load_corpus(recipe, 42, train_rows=rows)
    assert corpus.report["source"] == corpus.report["sources"]["train"]["origin"] == "memory"
    assert corpus.label_names == ["0", "1", "2"] and corpus.classes == [0, 1, 2]
    assert rows.classes == [] and len(rows) == 63  # the caller's rows are unchanged

    path = tmp_path / "run" / "data" / "train.parquet"
    stored = store_rows(corpus, rows, recipe, path)
    again = load_corpus(recipe.model_copy(update={"train": str(path)}), 42)
    assert json.loads(json.dumps(stored.report)) == json.loads(json.dumps(again.report))
    assert [split.fingerprint for split in stored.splits] == [split.fingerprint for split in again.splits]
    assert [split.ids for split in stored.splits] == [split.ids for split in again.splits]
    assert stored.classes == [0, 1, 2] and again.classes == ["0", "1", "2"]


def test_named_classes_keep_the_callers_values() -> None:
    corpus = load(["low", "high"], [0, 1])
    assert corpus.label_names == ["low", "high"] and corpus.classes == [0, 1]


def load(names: list[str], values: list[Any]) -> Corpus:
    texts = [f"text {row}" for row in range(40)]
    rows = labelled_rows(texts, [values[row % len(values)] for row in range(40)])
    return load_corpus(DataRecipe(train="memory", labels=names), 1, train_rows=rows)


def test_rows_from_memory_cannot_be_read_again() -> None:
    with pytest.raises(
        BadInput, match="passed from memory. Pass the same rows again with `texts` and `labels`"
    ):
        load_corpus(DataRecipe(train="memory"), 42)


def test_slice_columns_need_a_file() -> None:
    recipe = DataRecipe(train="memory", slice_columns=["source"])
    with pytest.raises(
        BadInput, match="`data.slice_columns`: expected columns of a file, found source, and texts"
    ):
        load_corpus(recipe, 42, train_rows=labelled_rows(["a", "b"], [0, 1]))


def test_one_class_is_refused() -> None:
    with pytest.raises(BadInput, match="`labels`: expected training rows of at least two classes"):
        load_corpus(DataRecipe(train="memory"), 42, train_rows=labelled_rows(["a", "b"], [1, 1]))


def test_rows_from_memory_are_a_split_of_a_trained_run() -> None:
    split = labelled_split(
        labelled_rows(["a", "b", "c"], [True, False, True]), Classes(["false", "true"]), "new"
    )
    assert split.name == "new" and split.labels == [1, 0, 1] and split.texts == ["a", "b", "c"]
    with pytest.raises(
        BadInput, match="new labels: expected one of false, true, found 'maybe' in 1 of 2 rows"
    ):
        labelled_split(labelled_rows(["a", "b"], ["maybe", "true"]), Classes(["false", "true"]), "new")
