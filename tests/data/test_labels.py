"""A label is the class of its name or value, in every spelling and from every file format, or it is refused."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest

from submillion import notices
from submillion.data.labels import Classes, class_indices, class_names, one_spelling
from submillion.data.rows import LabelledRows, label_text
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


def indices(
    names: Sequence[str], *labels: str, numbered: bool = False, first: int | None = None
) -> list[int]:
    return class_indices("test", rows(*labels), Classes(list(names), numbered, first))


def notice_texts() -> list[str]:
    return [notice["text"] for notice in notices.collected()]


def test_names_are_sorted_numbers_by_size() -> None:
    assert class_names(None, rows("b", "a", "b")) == ["a", "b"]
    assert class_names(None, rows("10", "9", "-1", "x")) == ["-1", "9", "10", "x"]
    assert class_names(None, rows("10.0", "9.0", "-1.0", "0.5")) == ["-1.0", "0.5", "9.0", "10.0"]
    assert class_names(None, rows("010", "007", "9" * 5000)) == ["007", "010", "9" * 5000]
    assert class_names(["z", "a"], rows("a", "z")) == ["z", "a"]


# -- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        (["-1.0", "0.0", "1.0"], ["0", "1", "-1"], [1, 2, 0]),
        (["0", "1"], ["1.0", "0.0", "+1", "1.", "1e0"], [1, 0, 1, 1, 1]),
        (["0", "1"], ["true", "False"], [1, 0]),
        (["False", "True"], ["true", "FALSE", "1", "0", "0.0"], [1, 0, 1, 0, 0]),
        (["1", "2", "3"], ["3.0", "1"], [2, 0]),
        (["1000", "2"], ["1e3"], [0]),
        (["0.5", "1.0"], ["0.50", "1"], [0, 1]),
        (["spam", "ham"], ["Spam", "HAM", "ham"], [0, 1, 1]),
        (["caf\u00e9", "bar"], ["CAFE\u0301"], [0]),
    ],
)
def test_a_label_is_the_class_of_its_value_and_never_its_position(
    names: list[str], labels: list[str], expected: list[int]
) -> None:
    assert indices(names, *labels) == expected
    assert [notice["code"] for notice in notices.collected()] == ["label_forms"]


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["-1.0", "0.0", "1.0"], "2"),
        (["a", "b"], "0"),
        (["a", "b"], "1"),
        (["1", "2", "3"], "true"),
        (["1.1", "1.10"], "1.100"),
        (["Spam", "SPAM"], "spam"),
        (["007", "010"], "8"),
    ],
)
def test_a_label_without_a_class_of_its_value_is_refused(names: list[str], label: str) -> None:
    with pytest.raises(BadInput, match=f"found '{label}'"):
        indices(names, label)


def test_a_code_that_lost_its_zeros_names_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"found '7' .* Did you mean '007'\?"):
        indices(["007", "010"], "7")


def test_another_spelling_is_said_with_its_rows() -> None:
    indices(["-1.0", "0.0", "1.0"], "0", "0", "1")
    assert notice_texts() == [
        "test: labels are read as the classes they mean: '0' (2 rows) as '0.0' and '1' (1 row) as '1.0'."
    ]


def test_training_labels_of_one_value_are_one_class() -> None:
    assert one_spelling(rows("1", "1.0", "1", "0"), None).labels == ["1", "1", "1", "0"]
    assert one_spelling(rows("True", "true", "FALSE", "True"), None).labels == [
        "True",
        "True",
        "FALSE",
        "True",
    ]
    assert [notice["code"] for notice in notices.collected()] == ["label_forms"] * 2
    for labels in (("1.1", "1.10", "2", "2.0"), ("007", "7"), ("a", "A"), ("true", "True", "maybe")):
        assert one_spelling(rows(*labels), None).labels == list(labels)
    assert one_spelling(rows("1", "1.0"), ["1", "1.0"]).labels == ["1", "1.0"]


# -- numbers of classes -------------------------------------------------------------------------------------


def test_names_and_numbers_give_the_same_indices() -> None:
    assert indices(AGNEWS, "World", "Sci/Tech", "Sports", "Business", numbered=True) == [0, 3, 1, 2]
    assert indices(AGNEWS, "4", "1", numbered=True) == [3, 0]
    assert [notice["code"] for notice in notices.collected()] == ["label_numbers"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("0", "2"), [0, 2]),
        (("0.0", "2.0"), [0, 2]),
        (("3", "1"), [2, 0]),
        (("c", "a", "0"), [2, 0, 0]),
        (("a", "b"), [0, 1]),
    ],
)
def test_numbers_show_whether_they_count_from_0_or_1(labels: tuple[str, ...], expected: list[int]) -> None:
    assert indices(["a", "b", "c"], *labels, numbered=True) == expected


def test_truth_values_are_the_numbers_of_two_named_classes() -> None:
    assert indices(["no", "yes"], "true", numbered=True) == [1]


def test_the_training_numbers_decide_for_a_file_of_few_classes() -> None:
    named = Classes(["a", "b", "c"], numbered=True)
    assert named.of_training(rows("1", "2", "3")).first == 1
    assert named.of_training(rows("0", "2")).first == 0
    assert named.of_training(rows("a", "b")).first is None
    assert Classes(["a", "b"]).of_training(rows("0", "1")).first is None
    assert indices(["a", "b", "c"], "1", "2", numbered=True, first=1) == [0, 1]
    assert indices(["a", "b", "c"], "1", numbered=True, first=0) == [1]
    with pytest.raises(
        BadInput, match=r"show whether the 3 classes count from 0 or from 1, found the numbers 1, 2"
    ):
        indices(["a", "b", "c"], "1", "2", numbered=True)


def test_numbers_outside_the_label_set_are_refused() -> None:
    with pytest.raises(BadInput, match=r"found '4' in 1 of 3 rows: some\.csv, line 4"):
        indices(AGNEWS, "0", "1", "4", numbered=True)
    with pytest.raises(BadInput, match=r"found '5' in 1 of 2 rows"):
        indices(AGNEWS, "1", "5", numbered=True, first=1)
    with pytest.raises(BadInput, match=r"found '0' in 1 of 2 rows"):
        indices(AGNEWS, "0", "1", numbered=True, first=1)


def test_numbers_that_are_names_are_not_renumbered() -> None:
    assert indices(["1", "2"], "2", "1", numbered=True) == [1, 0]
    with pytest.raises(BadInput, match=r"expected one of 1, 2, found '0'"):
        indices(["1", "2"], "0", "1", numbered=True)


def test_names_that_a_file_gives_to_its_numbers_are_those_numbers_in_a_run_that_knows_no_names() -> None:
    named = rows("neg", "pos")
    named.numbers_named = ["neg", "pos"]
    assert class_indices("later", named, Classes(["0", "1"])) == [0, 1]
    assert notice_texts() == [
        "later: labels are read as the classes they mean: 'neg' (1 row) as '0' and 'pos' (1 row) as '1'."
    ]


# -- unknown labels -----------------------------------------------------------------------------------------


def test_unknown_labels_are_listed_with_their_rows_and_the_nearest_name() -> None:
    with pytest.raises(BadInput) as caught:
        indices(AGNEWS, "Sport", "World", "Sport", "weather")
    assert str(caught.value).splitlines() == [
        "test labels: expected one of World, Sports, Business, Sci/Tech, found 'Sport' in 2 of 4 rows: "
        "some.csv, line 2; some.csv, line 4. Did you mean 'Sports'?",
        "test labels: expected one of World, Sports, Business, Sci/Tech, found 'weather' in 1 of 4 rows: "
        "some.csv, line 5.",
    ]


def test_a_thousand_unknown_labels_are_ten_lines() -> None:
    with pytest.raises(BadInput) as caught:
        indices(AGNEWS, *(f"label {number}" for number in range(1000)), "label 999")
    lines = str(caught.value).splitlines()
    assert len(lines) == 10
    assert "found 'label 999' in 2 of 1,001 rows" in lines[0]
    assert lines[-1] == "test labels: expected 4 classes, found 991 more labels in 991 rows."


def test_a_thousand_classes_are_not_listed() -> None:
    with pytest.raises(BadInput) as caught:
        indices([f"class {number}" for number in range(1000)], "x" * 50)
    assert "(1,000 in all)" in str(caught.value) and len(str(caught.value)) < 500


def test_marks_of_direction_and_of_a_symbols_form_make_no_class() -> None:
    marked = ["\u200espam", "spam\u200f", "\u2068spam\u2069", "\u202aspam\u202c", "sp\u061cam"]
    assert {label_text(label) for label in marked} == {"spam"}
    hearts = ["\u2764\ufe0f", "\u2764", "\u2764\ufe0f"]
    assert one_spelling(rows(*hearts), None).labels == ["\u2764\ufe0f"] * 3
    assert one_spelling(rows(*hearts), list(set(hearts))).labels == hearts
    assert Classes(["spam", "\u2764\ufe0f"]).find("\u2764") == 1
    family = ["\U0001f468\u200d\U0001f469", "\U0001f468\U0001f469"]
    assert one_spelling(rows(*map(str, map(label_text, family))), None).labels == family
