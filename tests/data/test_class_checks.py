"""Labels that nobody means as classes are refused with the way out; doubtful class names are reported with counts."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from submillion import notices
from submillion.data.corpus import Corpus, load_corpus
from submillion.data.in_memory import labelled_rows
from submillion.errors import BadInput
from submillion.recipe import DataRecipe


def load(
    folder: Path, labels: Sequence[Any], texts: Sequence[str] | None = None, names: list[str] | None = None
) -> Corpus:
    file = folder / "train.csv"
    with file.open("w", encoding="utf-8", newline="") as handle:
        rows = zip(texts or [f"text {row}" for row in range(len(labels))], labels, strict=True)
        csv.writer(handle).writerows([("text", "label"), *rows])
    return load_corpus(DataRecipe(train=str(file), labels=names), 42, progress=False)


def notice(code: str) -> str:
    return "".join(found["text"] for found in notices.collected() if found["code"] == code)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (
            [f"{row / 90:.4f}" for row in range(90)],
            "90 different numbers with decimals in 90 rows (0.0111, 0.0222, 0.0333)",
        ),
        ([f"{row % 40 / 40}" for row in range(400)], "40 different numbers with decimals in 400 rows"),
        (
            [f"{row % 25 // 10},{row % 25 % 10}" for row in range(250)],
            "25 different numbers with decimals in 250 rows (0,1; 0,2; 0,3): the target of a regression",
        ),
        ([f"{row / 10}" for row in range(12)], "12 different numbers with decimals in 12 rows"),
        (
            [f"u{row:04}" for row in range(60)],
            "60 different labels in 60 rows, 60 of them in one row only ('u0000', 'u0001', 'u0002'): ids or texts",
        ),
        ([str(1000 + row) for row in range(60)], "ids or a number to predict"),
        ([f"2024-{row % 12 + 1:02}-{row // 12 + 1:02}" for row in range(60)], "dates"),
        ([f"It arrived on day {row}" for row in range(60)], "texts"),
        (["a\x1b[2Jb", "b"] * 20, "1 class with such characters in 20 rows: 'a\\x1b[2Jb'"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, labels: list[str], found: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, labels)
    message = str(caught.value)
    assert found in message and "train.csv, column 'label'" in message
    assert len(message.splitlines()) == 1


def test_text_and_label_that_are_swapped_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"may be swapped: name them with `data\.text` and `data\.label`"):
        load(tmp_path, [f"It arrived on day {row}" for row in range(60)], ["good", "bad"] * 30)


@pytest.mark.parametrize(
    "labels",
    [
        [f"{row % 10 / 2}" for row in range(40)],  # ratings in half stars
        [f"3.{row % 13}" for row in range(130)],  # versions
        [f"intent {row // 3}" for row in range(231)],
        [str(row // 3) for row in range(231)],
        [*["common"] * 40, *(f"rare {row}" for row in range(30))],
    ],
)
def test_many_classes_of_few_rows_are_classes(tmp_path: Path, labels: list[str]) -> None:
    assert load(tmp_path, labels).label_names


def test_numbers_that_the_recipe_lists_are_classes(tmp_path: Path) -> None:
    numbers = [f"{row / 40}" for row in range(40)]
    assert load(tmp_path, numbers * 3, names=numbers).label_names == numbers


def test_lists_from_memory_are_refused() -> None:
    rows = labelled_rows([f"text {row}" for row in range(20)], ["['a']", '{"choices": ["b"]}'] * 10)
    with pytest.raises(
        BadInput, match=r"`labels`: expected one class per text, found lists or objects .* 20 rows"
    ):
        load_corpus(DataRecipe(train="memory"), 42, train_rows=rows)


def test_names_that_differ_in_case_are_reported_and_merged_by_naming_the_classes(tmp_path: Path) -> None:
    labels = [*["food"] * 10, *["Sport"] * 6, *["sport"] * 8, *["SPORT"] * 4]
    corpus = load(tmp_path, labels)
    assert corpus.label_names == ["SPORT", "Sport", "food", "sport"]
    assert corpus.report["checks"]["classes"] == {"classes": 4, "spellings": [["SPORT", "Sport", "sport"]]}
    assert "'SPORT' (4 rows), 'Sport' (6 rows) and 'sport' (8 rows). They are trained as different" in notice(
        "class_spellings"
    )
    merged = load(tmp_path, labels, names=["food", "sport"])
    assert merged.label_names == ["food", "sport"]
    assert sum(split["label_counts"]["sport"] for split in merged.report["splits"].values()) == 18
    assert "'SPORT' (4 rows) as 'sport' and 'Sport' (6 rows) as 'sport'" in notice("label_forms")


def test_differences_that_nobody_can_see_make_no_class(tmp_path: Path) -> None:
    labels = [
        "caf\u00e9 bar",
        "cafe\u0301 bar",
        "caf\u00e9\u00a0 bar",
        "\ufeffcaf\u00e9 bar\u200b ",
        "other",
        "other",
    ]
    assert load(tmp_path, labels * 3).label_names == ["caf\u00e9 bar", "other"]


def test_classes_that_list_other_classes_are_reported(tmp_path: Path) -> None:
    load(tmp_path, [*["news"] * 8, *["sport"] * 8, *["news; sport"] * 4, *["AC/DC"] * 3])
    assert notice("class_combinations").startswith(
        "1 class name (4 rows) lists other classes, such as 'news; sport'"
    )


def test_dates_and_long_texts_as_classes_are_reported(tmp_path: Path) -> None:
    load(tmp_path, ["2024-01-02", "2024-01-03"] * 10)
    load(tmp_path, ["a" * 150, "b" * 150] * 10)
    assert "are dates, such as '2024-01-02'" in notice("class_dates")
    assert "have 150 characters on average and are perhaps texts" in notice("class_texts")


def test_texts_that_are_all_the_same_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"train\.csv, 'text': expected texts that differ, found the same text in all 20"
    ):
        load(tmp_path, ["a", "b"] * 10, ["same", "same "] * 10)


def test_a_class_of_one_row_is_trained_on_and_reported_once(tmp_path: Path) -> None:
    corpus = load(tmp_path, [*["a"] * 20, *["b"] * 20, "rare"])
    assert corpus.train.labels.count(2) == 1 and 2 not in corpus.validation.labels
    assert notice("classes_of_one_row") == (
        "1 class has one row only, which is trained on, so that validation has none: 'rare'."
    )
    assert not notice("absent_classes")


def test_of_a_thousand_absent_classes_ten_are_named(tmp_path: Path) -> None:
    names = ["a", "b", *(f"class {number}" for number in range(1000))]
    load(tmp_path, ["a", "b"] * 20, names=names)
    assert notice("absent_classes").startswith("train: no row of 'class 0', 'class 1'")
    assert "and 990 more" in notice("absent_classes") and len(notice("absent_classes")) < 500


def test_lists_of_two_numbers_are_no_decimals(tmp_path: Path) -> None:
    lists = [f"{first},{second}" for first in range(1, 9) for second in range(1, 9) if first != second]
    assert len(load(tmp_path, lists * 3).label_names) == 56


@pytest.mark.parametrize("below", ["", "delivery/"])
def test_texts_that_are_names_of_files_are_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "delivery").mkdir()
    names = [f"{below}{row}.txt" for row in range(20)]
    for row in range(20):
        (tmp_path / "delivery" / f"{row}.txt").touch()
    with pytest.raises(BadInput) as caught:
        load(tmp_path, ["a", "b"] * 10, names)
    assert f"train.csv, column 'text': expected texts, found the names of files: '{names[0]}'" in str(
        caught.value
    )
    assert f"move train.csv out of {tmp_path} and name that folder" in str(caught.value)
    assert load(tmp_path, ["a", "b"] * 10, [*names[:19], "It arrived late."]).label_names == ["a", "b"]
