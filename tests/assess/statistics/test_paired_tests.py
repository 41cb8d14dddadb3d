"""Paired and multiple tests against hand-worked numbers, scipy, scikit-learn and simulated samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.assess.statistics.multiple_tests import add_holm, holm
from submillion.assess.statistics.paired_tests import mcnemar, paired
from submillion.assess.statistics.proportions import paired_interval
from submillion.run_format.interval import interval
from support.intervals import limits

# Training in the same process may have switched the processor to treat subnormal numbers as zero.
UNIT = st.floats(0, 1, allow_subnormal=False)


def two_classifiers(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels and two predictions that are right on 90 and 80 % of the rows, mostly the same ones."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    other = (labels + 1) % classes
    first = np.where(rng.random(rows) < 0.9, labels, other)
    second = np.where(rng.random(rows) < 0.89, first, other)
    return labels, first, second


# -- pairs ---------------------------------------------------------------------------------------------------


def test_a_pair_by_hand() -> None:
    labels = [0, 0, 0, 1, 1, 1, 2, 2]
    first = [0, 0, 0, 1, 1, 0, 2, 2]
    second = [0, 0, 1, 1, 1, 1, 1, 2]
    found = paired(labels, first, second, 3, np.random.default_rng(0))
    assert (found["rows"], found["only_a"], found["only_b"]) == (8, 2, 1)
    assert (found["accuracy"]["a"], found["accuracy"]["b"], found["accuracy"]["difference"]) == (
        7 / 8,
        6 / 8,
        1 / 8,
    )
    assert found["accuracy"]["p"] == 1.0  # 2 against 1: as even as three rows can be
    assert found["macro_f1"]["a"] == pytest.approx((6 / 7 + 4 / 5 + 1) / 3)
    assert found["macro_f1"]["b"] == pytest.approx((4 / 5 + 3 / 4 + 2 / 3) / 3)
    assert found["macro_f1"]["difference"] == found["macro_f1"]["a"] - found["macro_f1"]["b"]


def test_swapping_the_two_turns_the_signs() -> None:
    labels, first, second = two_classifiers(400, 4)
    there = paired(labels, first, second, 4, np.random.default_rng(0))
    back = paired(labels, second, first, 4, np.random.default_rng(0))
    assert (there["only_a"], there["only_b"]) == (back["only_b"], back["only_a"])
    for measure in ("accuracy", "macro_f1"):
        assert there[measure]["difference"] == -back[measure]["difference"]
        low, high = limits(there[measure]["difference_interval"])
        assert limits(back[measure]["difference_interval"]) == pytest.approx([-high, -low], abs=2e-3)
    assert there["accuracy"]["p"] == back["accuracy"]["p"]


def test_the_same_generator_gives_the_same_answer() -> None:
    sample = two_classifiers(300, 5)
    answers = [paired(*sample, 5, np.random.default_rng(7), resamples=500) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0] != paired(*sample, 5, np.random.default_rng(8), resamples=500)


def test_intervals_contain_the_difference_and_agree_with_each_other() -> None:
    found = paired(*two_classifiers(2000, 4), 4, np.random.default_rng(0))
    for measure in ("accuracy", "macro_f1"):
        low, high = limits(found[measure]["difference_interval"])
        assert 0 < low < found[measure]["difference"] < high
        assert found[measure]["p"] < 1e-3
    assert found["accuracy"]["difference_interval"] == pytest.approx(
        found["accuracy"]["bootstrap_interval"], abs=2e-3
    )


def test_equal_predictions_have_no_difference_but_an_interval_with_a_width() -> None:
    labels, first, _ = two_classifiers(200, 3)
    found = paired(labels, first, first, 3, np.random.default_rng(0))
    assert found["accuracy"]["p"] == found["macro_f1"]["p"] == 1.0
    assert (
        found["macro_f1"]["difference_interval"] == found["accuracy"]["bootstrap_interval"] == interval(0.0)
    )
    low, high = limits(found["accuracy"]["difference_interval"])
    assert low == -high < 0


@pytest.mark.parametrize("rows", [1, 2])
def test_one_row_is_enough(rows: int) -> None:
    found = paired([0] * rows, [0] * rows, [1] * rows, 2, np.random.default_rng(0))
    assert found["accuracy"]["difference"] == 1.0
    assert found["accuracy"]["p"] == 2.0 ** (1 - rows)


def test_intervals_have_their_nominal_coverage() -> None:
    rng = np.random.default_rng(11)
    shares = np.array([0.02, 0.05, 0.9, 0.03])  # only a right, only b right, both, none
    held = {"accuracy": 0, "macro_f1": 0}
    samples = 300
    # Labels are one of two classes at even odds, a mistake names the other: macro F1 nearly equals accuracy.
    for _ in range(samples):
        kind = rng.choice(4, 500, p=shares)
        labels = rng.integers(0, 2, 500)
        first = np.where((kind == 0) | (kind == 2), labels, 1 - labels)
        second = np.where((kind == 1) | (kind == 2), labels, 1 - labels)
        found = paired(labels, first, second, 2, rng, resamples=400)
        for measure in held:
            low, high = limits(found[measure]["difference_interval"])
            held[measure] += low <= -0.03 <= high
    for measure, times in held.items():
        assert 0.91 < times / samples < 0.985, measure  # 95 % and three standard errors of 1.26 %


# -- tests and intervals ------------------------------------------------------------------------------------


def test_mcnemar_by_hand() -> None:
    assert mcnemar(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar(2, 10) == mcnemar(10, 2)
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(0, 6) == pytest.approx(2 / 64)  # six rows on one side are the least that shows anything


def test_paired_interval_by_hand() -> None:
    # 8 against 2 of 98 rows: 6/100 and 1.96 sqrt(11 - 36/100) / 100.
    assert limits(paired_interval(8, 2, 98)) == pytest.approx((0.06 - 0.063932, 0.06 + 0.063932), abs=1e-5)
    low, high = limits(paired_interval(0, 0, 98))
    assert (low, high) == pytest.approx((-0.0196, 0.0196), abs=1e-5)
    # 3 against 0 of 3 rows: Clopper and Pearson's lower limit of 3 in 3 is 0.025^(1/3), and 2 x that - 1 is below 0.
    assert limits(paired_interval(3, 0, 3)) == pytest.approx((2 * 0.025 ** (1 / 3) - 1, 1.0))


def test_the_paired_interval_excludes_0_only_if_the_exact_test_rejects() -> None:
    for only_a in range(16):
        for only_b in range(16):
            low, high = limits(paired_interval(only_a, only_b, max(only_a + only_b, 1)))
            assert low <= 0 <= high or mcnemar(only_a, only_b) < 0.05, (only_a, only_b)
            assert low <= (only_a - only_b) / max(only_a + only_b, 1) <= high


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(UNIT, min_size=1, max_size=12))
def test_holm_keeps_the_order_and_is_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for p, found in zip(p_values, corrected, strict=True):
        assert p <= found <= min(1.0, max(p * len(p_values), max(corrected)))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()
    assert min(corrected) == pytest.approx(min(1.0, len(p_values) * min(p_values)))


def test_entries_without_a_p_value_are_not_counted() -> None:
    entries = [{"p": 0.03}, {"p": None}, {"p": 0.01}]
    assert add_holm(entries) == 2
    assert [entry["p_holm"] for entry in entries] == [pytest.approx(0.03), None, pytest.approx(0.02)]
