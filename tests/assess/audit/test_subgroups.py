"""Accuracy and calibration by class and by mention: by hand, and exact p-values by enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from submillion.assess.audit.subgroups import NO_MENTION, by_class, by_mention, calibration
from submillion.assess.audit.word_finder import Finder
from submillion.assess.audit.wordlists import ListedWord, WordList
from submillion.assess.statistics.exact_tests import calibrated_p
from submillion.assess.statistics.slices import Answers
from submillion.run_format.interval import interval
from support.intervals import limits

LIST = WordList(
    "names", "names", "made", ("gender",), ("word",), frozenset(),
    tuple(ListedWord((group,), ((word,),)) for group, word in (("women", "Ann"), ("women", "Eve"), ("men", "Bob"))),
)  # fmt: skip


def answers_of(labels: list[int], predicted: list[int], confidence: list[float]) -> Answers:
    truth = np.array(labels)
    return Answers(truth, truth == np.array(predicted), np.array(confidence))


def by_enumeration(confidence: list[float], wrong: int) -> float:
    chances: dict[int, float] = {}
    for outcome in itertools.product((0, 1), repeat=len(confidence)):
        chance = math.prod(1 - sure if miss else sure for miss, sure in zip(outcome, confidence, strict=True))
        chances[sum(outcome)] = chances.get(sum(outcome), 0.0) + chance
    return min(1.0, sum(chance for chance in chances.values() if chance <= chances[wrong] * (1 + 1e-7)))


@given(st.lists(st.floats(0.05, 0.99), min_size=1, max_size=8), st.integers(0, 8))
def test_the_p_value_is_that_of_all_outcomes(confidence: list[float], wrong: int) -> None:
    wrong = min(wrong, len(confidence))
    assert calibrated_p(np.array(confidence), wrong) == pytest.approx(by_enumeration(confidence, wrong))


@pytest.mark.parametrize("wrong", [0, 3, 40, 120])
def test_with_equal_confidences_the_distribution_is_binomial(wrong: int) -> None:
    expected = binomtest(wrong, 400, 0.1).pvalue
    assert calibrated_p(np.full(400, 0.9), wrong) == pytest.approx(expected, rel=1e-6)


def test_a_mistake_at_full_confidence_has_p_zero() -> None:
    sure = np.ones(50)
    assert calibrated_p(sure, 0) == 1.0
    assert calibrated_p(sure, 1) == 0.0
    # One mistake in fifty very sure answers is rare, and far from as rare as a normal approximation has it.
    assert calibrated_p(np.full(50, 0.999), 1) == pytest.approx(1 - 0.999**50)


def test_many_rows_keep_their_precision() -> None:
    confidence = np.linspace(0.5, 0.9999, 3_000)
    expected = round(float((1 - confidence).sum()))
    assert calibrated_p(confidence, expected) > 0.9
    assert calibrated_p(confidence, expected + 200) < 1e-12


def test_a_group_of_rows_by_hand() -> None:
    answers = answers_of([0] * 40, [0] * 30 + [1] * 10, [0.9] * 40)
    found = calibration(np.ones(40, dtype=bool), answers)
    assert (found["mean_confidence"], found["gap"]) == pytest.approx((0.9, 0.15))
    # Wilson's interval of 30 of 40 is 0.5981 to 0.8581.
    assert limits(found["gap_interval"]) == pytest.approx((0.0419, 0.3019), abs=1e-4)
    assert found["gap_p"] == pytest.approx(binomtest(10, 40, 0.1).pvalue)
    few = calibration(np.arange(40) < 29, answers)
    assert few["too_small"] and few["gap_p"] is None and few["gap"] == pytest.approx(-0.1)
    none = calibration(np.zeros(40, dtype=bool), answers)
    assert (none["too_small"], none["gap"], none["gap_p"]) == (True, None, None)


def test_classes_and_their_answers() -> None:
    # Class a: 40 rows, 30 right; b: 30 rows, all right; c has no row and gets no answer.
    labels = [0] * 40 + [1] * 30
    predicted = [0] * 30 + [1] * 10 + [1] * 30
    found = by_class(answers_of(labels, predicted, [0.99] * 70), np.array(predicted), ["a", "b", "c"])
    a, b, c = found
    assert (a["rows"], a["accuracy"], a["answers"]["rows"], a["answers"]["accuracy"]) == (40, 0.75, 30, 1.0)
    assert (b["rows"], b["accuracy"], b["answers"]["rows"], b["answers"]["accuracy"]) == (30, 1.0, 40, 0.75)
    assert (c["rows"], c["accuracy"], c["accuracy_interval"], c["too_small"]) == (
        0,
        None,
        interval(None),
        True,
    )
    assert a["answers"]["gap_beyond_chance"] is False
    assert b["answers"]["gap_beyond_chance"] is True
    assert b["answers"]["gap_p_holm"] == pytest.approx(2 * b["answers"]["gap_p"])
    assert c["answers"]["gap_beyond_chance"] is None


def test_rows_by_what_they_mention() -> None:
    texts = ["Ann said"] * 20 + ["Eve met Bob"] * 20 + ["nobody said"] * 60
    labels = [0, 1] * 50
    predicted = [1, 0] * 20 + [0, 1] * 30  # every row that mentions somebody is answered wrong
    matches = [Finder(LIST).find(text) for text in texts]
    (level,) = by_mention(LIST, matches, answers_of(labels, predicted, [0.9] * 100))
    assert (level["axis"], level["title"]) == ("names.gender", "names, by gender")
    women, men, none = level["slices"]
    assert [(part["name"], part["rows"]) for part in level["slices"]] == [
        ("women", 40),
        ("men", 20),
        (NO_MENTION, 60),
    ]
    assert (women["accuracy"], women["beyond_chance_same_classes"]) == (0.0, True)
    assert women["gap"] == pytest.approx(0.9) and women["gap_beyond_chance"]
    assert men["too_small"] and men["p"] is None and men["gap_beyond_chance"] is None
    assert none["accuracy"] == 1.0


def test_without_mentions_nothing_is_compared() -> None:
    answers = answers_of([0, 1], [0, 1], [0.9, 0.9])
    assert by_mention(LIST, [[], []], answers) == [
        {"axis": "names.gender", "title": "names, by gender", "slices": []}
    ]
    every = [Finder(LIST).find("Ann")] * 2
    assert [part["name"] for part in by_mention(LIST, every, answers)[0]["slices"]] == ["women"]
