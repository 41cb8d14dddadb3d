"""Accuracy by groups: exact tests against scipy and by enumeration, intervals by hand, groups of equal size."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from submillion.assess.statistics.exact_tests import stratified_p
from submillion.assess.statistics.proportions import unpaired_interval
from submillion.assess.statistics.slices import Answers, compare_slices, quantile_groups
from submillion.run_format.interval import interval
from support.intervals import limits

# Training in the same process may have switched the processor to treat subnormal numbers as zero.
UNIT = st.floats(0, 1, allow_subnormal=False)


def answers(labels: list[int], right: list[int]) -> Answers:
    return Answers(np.array(labels, dtype=int), np.array(right, dtype=bool), np.linspace(0.5, 1, len(labels)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_one_stratum_is_fishers_test(wrong: int, rows: int, rest_wrong: int, rest_rows: int) -> None:
    wrong, rest_wrong = min(wrong, rows), min(rest_wrong, rest_rows)
    table = [[wrong, rows - wrong], [rest_wrong, rest_rows - rest_wrong]]
    p = stratified_p(np.array([wrong + rest_wrong]), np.array([rows + rest_rows]), np.array([rows]), wrong)
    assert p == pytest.approx(fisher_exact(table).pvalue, rel=1e-6, abs=1e-12)


def test_many_rows() -> None:
    table = [[500, 3500], [1200, 9800]]
    p = stratified_p(np.array([1700]), np.array([15_000]), np.array([4000]), 500)
    assert p == pytest.approx(fisher_exact(table).pvalue, rel=1e-6)
    halves = np.array([9000]), np.array([18_000]), np.array([9000])
    assert stratified_p(*halves, 9000) == 0.0  # too improbable for a number
    assert stratified_p(*halves, 4500) == pytest.approx(1.0)


def test_two_strata_by_enumeration() -> None:
    # Five rows of one class (2 wrong), four of another (1 wrong); the group has three and two of them.
    def outcomes(rows: int, wrong: int, drawn: int) -> list[int]:
        return [sum(row < wrong for row in chosen) for chosen in combinations(range(rows), drawn)]

    sums = np.array([one + two for one in outcomes(5, 2, 3) for two in outcomes(4, 1, 2)])
    chance = {value: float((sums == value).mean()) for value in range(4)}
    for seen in range(4):
        expected = sum(share for share in chance.values() if share <= chance[seen] * (1 + 1e-7))
        assert stratified_p(np.array([2, 1]), np.array([5, 4]), np.array([3, 2]), seen) == pytest.approx(
            expected
        )


def test_a_group_of_a_hard_class_differs_but_not_within_classes() -> None:
    # Class 0 is answered 90 of 100, class 1 60 of 100, whoever wrote it; the group is 90 of class 1, 10 of class 0.
    labels = np.repeat([0, 1], 100)
    right = np.ones(200, dtype=bool)
    right[:10] = right[100:140] = False
    group = np.zeros(200, dtype=bool)
    group[[0, *range(10, 19)]] = True
    group[100:136] = group[140:194] = True
    (part,) = compare_slices({"hard": group}, Answers(labels, right, np.full(200, 0.7)))
    assert (part["rows"], part["correct"], part["accuracy"]) == (100, 63, 0.63)
    assert part["beyond_chance"] is True
    assert part["difference"] == pytest.approx(0.63 - 0.87)
    assert part["rest_accuracy_same_classes"] == pytest.approx(0.1 * 81 / 90 + 0.9 * 0.6)
    assert part["p_same_classes"] > 0.9
    assert part["beyond_chance_same_classes"] is False
    assert part["mean_confidence"] == pytest.approx(0.7)


def test_two_halves_are_one_test_and_three_groups_are_three() -> None:
    rng = np.random.default_rng(0)
    made = answers(rng.integers(0, 2, 300).tolist(), (rng.random(300) < 0.8).astype(int).tolist())
    first = np.arange(300) < 120
    halves = compare_slices({"first": first, "others": ~first}, made)
    assert [part["p_holm"] for part in halves] == pytest.approx([part["p"] for part in halves])
    thirds = compare_slices({name: np.arange(300) % 3 == place for place, name in enumerate("abc")}, made)
    least = min(part["p"] for part in thirds)
    assert min(part["p_holm"] for part in thirds) == pytest.approx(min(1.0, 3 * least))


def test_small_groups_are_shown_but_not_tested() -> None:
    made = answers([0] * 40, [1] * 20 + [0] * 20)
    small, large, none, all_of_them = compare_slices(
        {
            "small": np.arange(40) < 5,
            "large": np.arange(40) >= 5,
            "none": np.zeros(40, dtype=bool),
            "all": np.ones(40, dtype=bool),
        },
        made,
    )
    assert [part["too_small"] for part in (small, large, none, all_of_them)] == [True, False, True, False]
    assert {part["p"] for part in (small, large, none, all_of_them)} == {None}
    assert {part["beyond_chance"] for part in (small, large, none, all_of_them)} == {None}
    assert (none["accuracy"], none["accuracy_interval"], none["mean_confidence"]) == (
        None,
        interval(None),
        None,
    )
    assert (none["difference"], all_of_them["rest_accuracy"], all_of_them["difference"]) == (None, None, None)
    assert small["accuracy"] == 1.0


def test_a_class_outside_which_there_are_no_rows_has_no_weight() -> None:
    (part,) = compare_slices({"odd": np.arange(6) < 3}, answers([0, 0, 0, 1, 1, 1], [1, 0, 1, 1, 1, 1]))
    assert part["rest_accuracy_same_classes"] is None
    assert compare_slices({"empty": np.zeros(0, dtype=bool)}, answers([], []))[0]["rows"] == 0


def test_newcombes_example() -> None:
    # His table II, case (a): 56 of 70 against 48 of 80, method 10.
    assert limits(unpaired_interval(56, 70, 48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_groups_of_equal_size_keep_equal_values_together() -> None:
    groups = quantile_groups(np.arange(100), "tokens")
    assert len(groups) == 5
    assert all(abs(int(mask.sum()) - 20) <= 1 for mask in groups.values())
    assert next(iter(groups)) == "0 to 19 tokens"
    tied = quantile_groups(np.array([0.0] * 70 + [0.02] * 5 + [0.5] * 25), "new words", share=True)
    assert {name: int(mask.sum()) for name, mask in tied.items()} == {
        "0% new words": 70,
        "2.0 to 50.0% new words": 30,
    }
    assert list(quantile_groups(np.full(9, 7), "tokens")) == ["7 tokens"]
    assert quantile_groups(np.array([]), "tokens") == {}


@settings(max_examples=60, deadline=None)
@given(st.lists(UNIT, min_size=1, max_size=60), st.booleans())
def test_groups_partition_the_rows_in_order(values: list[float], share: bool) -> None:
    numbers = np.array(values)
    groups = list(quantile_groups(numbers, "words", share=share).values())
    assert (np.sum(groups, axis=0) == 1).all()
    for lower, higher in pairwise(groups):
        assert numbers[lower].max() < numbers[higher].min()
