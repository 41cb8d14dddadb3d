"""Labels by name and by number give the same class indices, or an error that names their rows."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from submillion import notices
from submillion.data.labels import class_indices, first_number, label_names
from submillion.data.rows import LabelledRows
from submillion.data.text_column import TextColumn
from submillion.errors import BadInput

AGNEWS = ["World", "Sports", "Business", "Sci/Tech"]


def rows(*labels: str) -> LabelledRows:
    return LabelledRows(
        texts=TextColumn(["x"] * len(labels)),
        labels=list(labels),
        file_of=array("i", [0] * len(labels)),
        places=array("q", range(2, len(labels) + 2)),
        files=[(Path("some.csv"), "line")],
    )


def test_names_are_sorted_numbers_by_size() -> None:
    assert label_names(None, {"train": rows("b", "a", "b")}) == ["a", "b"]
    assert label_names(None, {"train": rows("10", "9", "-1", "x")}) == ["-1", "9", "10", "x"]
    assert label_names(["z", "a"], {"train": rows("a", "z")}) == ["z", "a"]


def test_names_and_numbers_give_the_same_indices() -> None:
    assert class_indices("train", rows("World", "Sci/Tech", "Sports", "Business"), AGNEWS) == [0, 3, 1, 2]
    assert class_indices("test", rows("4", "1"), AGNEWS) == [3, 0]
    assert [notice["code"] for notice in notices.collected()] == ["label_numbers"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(("0", "2"), [0, 2]), (("3", "1"), [2, 0]), (("c", "a", "0"), [2, 0, 0]), (("a", "b"), [0, 1])],
)
def test_numbers_show_whether_they_count_from_0_or_1(labels: tuple[str, ...], expected: list[int]) -> None:
    assert class_indices("test", rows(*labels), ["a", "b", "c"]) == expected


def test_the_training_numbers_decide_for_an_ambiguous_split() -> None:
    names = ["a", "b", "c"]
    assert first_number(rows("1", "2", "3"), names) == 1
    assert class_indices("test", rows("1", "2"), names, first=1) == [0, 1]
    assert class_indices("test", rows("1", "2"), names, first=0) == [1, 2]
    with pytest.raises(
        BadInput, match=r"show whether the 3 classes count from 0 or from 1, found the numbers 1, 2"
    ):
        class_indices("test", rows("1", "2"), names)


def test_unknown_labels_are_listed_with_their_rows_and_the_nearest_name() -> None:
    with pytest.raises(BadInput) as caught:
        class_indices("test", rows("Sport", "World", "Sport", "weather"), AGNEWS)
    assert str(caught.value).splitlines() == [
        "test labels: expected one of World, Sports, Business, Sci/Tech, found 'Sport' in 2 of 4 rows: "
        "some.csv, line 2; some.csv, line 4. Did you mean 'Sports'?",
        "test labels: expected one of World, Sports, Business, Sci/Tech, found 'weather' in 1 of 4 rows: "
        "some.csv, line 5.",
    ]


def test_numbers_outside_the_label_set_are_refused() -> None:
    with pytest.raises(BadInput, match=r"found '4' in 1 of 3 rows: some\.csv, line 4"):
        class_indices("train", rows("0", "1", "4"), AGNEWS)
    with pytest.raises(BadInput, match=r"found '5' in 1 of 2 rows"):
        class_indices("train", rows("1", "5"), AGNEWS, first=1)
    with pytest.raises(BadInput, match=r"found '0' in 1 of 2 rows"):
        class_indices("train", rows("0", "1"), AGNEWS, first=1)


def test_numbers_that_are_names_are_not_renumbered() -> None:
    assert class_indices("test", rows("2", "1"), ["1", "2"]) == [1, 0]
    with pytest.raises(BadInput, match=r"expected one of 1, 2, found '0'"):
        class_indices("test", rows("0", "1"), ["1", "2"])
