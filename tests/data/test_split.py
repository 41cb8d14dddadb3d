"""Splits: exact shares, no text in both parts, the same rows on every machine and for every order of rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.data.split import largest_remainder, stratified_sample, stratified_split


def test_shares_of_agnews_size() -> None:
    labels = [row % 4 for row in range(2000)]
    train, validation = stratified_split(labels, 0.1, seed=42)
    assert len(train) == 1800 and Counter(labels[row] for row in validation) == dict.fromkeys(range(4), 50)


def test_shares_are_by_largest_remainder() -> None:
    # 10 % of 25 rows are 3 (2.5 rounded up); 1.5, 0.8 and 0.2 of a row: one each for the first two, and one
    # more for the largest remainder, 0.8; the class of 2 keeps at least one row on each side.
    assert largest_remainder({0: 15, 1: 8, 2: 2}, 3) == {0: 2, 1: 1, 2: 0}
    labels = [0] * 15 + [1] * 8 + [2] * 2
    _, validation = stratified_split(labels, 0.1, seed=0)
    assert Counter(labels[row] for row in validation) == {0: 2, 1: 1, 2: 1}


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=120),
    st.floats(0.01, 0.9),
    st.integers(0, 2**32 - 1),
)
def test_every_class_of_two_rows_is_in_both_parts(labels: list[int], size: float, seed: int) -> None:
    train, validation = stratified_split(labels, size, seed)
    assert sorted([*train, *validation]) == list(range(len(labels)))
    counts = Counter(labels)
    held_out = Counter(labels[row] for row in validation)
    for label, count in counts.items():
        assert (1 if count > 1 else 0) <= held_out[label] <= max(count - 1, 0)
        assert abs(held_out[label] - size * count) <= 1.5


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 15)), min_size=2, max_size=60), st.integers(0, 99)
)
def test_copies_of_a_text_stay_together(rows: list[tuple[int, int]], seed: int) -> None:
    labels = [label for label, _ in rows]
    texts = [f"text  {number}" if place % 2 else f" text\n{number}" for place, (_, number) in enumerate(rows)]
    numbers = [number for _, number in rows]
    train, validation = stratified_split(labels, 0.3, seed, texts)
    assert not {numbers[row] for row in train} & {numbers[row] for row in validation}


def test_copies_with_contradicting_labels_stay_in_training() -> None:
    texts = ["same"] * 10 + [f"text {row}" for row in range(90)]
    labels = [0, 1] * 50
    for seed in range(20):
        _, validation = stratified_split(labels, 0.5, seed, texts)
        assert validation.min() >= 10


def test_the_order_of_rows_does_not_matter() -> None:
    texts = [f"text {row}" for row in range(300)]
    labels = [row % 3 for row in range(300)]
    order = np.random.default_rng(0).permutation(300)
    shuffled = [texts[row] for row in order]
    _, before = stratified_split(labels, 0.1, 7, texts)
    _, after = stratified_split([labels[row] for row in order], 0.1, 7, shuffled)
    assert {texts[row] for row in before} == {shuffled[row] for row in after}


def test_the_split_is_the_same_on_every_machine() -> None:
    texts = [f"text {row}" for row in range(20)]
    labels = [row % 2 for row in range(20)]
    assert stratified_split(labels, 0.2, 42, texts)[1].tolist() == [0, 2, 3, 13]
    assert stratified_split(labels, 0.2, 43, texts)[1].tolist() == [2, 5, 12, 17]


def test_a_class_of_copies_of_one_text_stays_in_training() -> None:
    train, validation = stratified_split([0] * 6 + [1] * 6, 0.5, 0, ["copy"] * 6 + list("abcdef"))
    assert set(range(6)) <= set(train) and len(validation) == 3


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(3, {0: 1, 1: 1, 2: 1}), (12, {0: 9, 1: 2, 2: 1}), (2, {0: 1, 1: 1})],
)
def test_a_sample_keeps_the_shares_and_every_class_if_it_can(rows: int, expected: dict[int, int]) -> None:
    labels = [0] * 80 + [1] * 19 + [2]
    drawn = stratified_sample(labels, rows, seed=1)
    assert Counter(labels[row] for row in drawn) == expected
    assert drawn.tolist() == sorted(drawn)


def test_a_sample_of_all_rows_is_all_rows() -> None:
    assert stratified_sample([0, 1, 1], 3, seed=1).tolist() == [0, 1, 2]
