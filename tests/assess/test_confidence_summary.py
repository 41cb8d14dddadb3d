"""Confidence summaries name their split, and thresholds are shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from submillion.assess.confidence_summary import confidence_of
from submillion.errors import BadInput

PROBABILITIES = np.array([[0.5, 0.5], [0.1, 0.9], [0.95, 0.05], [0.75, 0.25]])


def test_four_rows_by_hand() -> None:
    assert confidence_of("test", PROBABILITIES, [0.5]) == {
        "split": "test",
        "rows": 4,
        "mean": pytest.approx(0.775),
        "median": pytest.approx(0.825),
        "min": 0.5,
        "max": 0.95,
        "above": {"0.5": 0.75, "0.9": 0.25},  # strictly above: neither the 0.5 nor the 0.9 counts
    }


def test_thresholds_are_sorted_and_distinct_and_include_0_9() -> None:
    assert list(confidence_of("test", PROBABILITIES, [0.99, 0.9, 0.0])["above"]) == ["0.0", "0.9", "0.99"]


@pytest.mark.parametrize("threshold", ["0.5", None, True, [0.5], 0.5 + 0j])
def test_what_is_no_number_is_no_threshold(threshold: Any) -> None:
    with pytest.raises(BadInput, match=r"`thresholds`: expected a share from 0 to below 1, found "):
        confidence_of("test", PROBABILITIES, [0.8, threshold])
    with pytest.raises(BadInput, match="found nan"):
        confidence_of("test", PROBABILITIES, [float("nan")])


def test_thresholds_may_be_an_array() -> None:
    assert list(confidence_of("test", PROBABILITIES, np.array([0.5]))["above"]) == ["0.5", "0.9"]


def test_all_thresholds_in_per_cent_are_refused_at_once() -> None:
    with pytest.raises(BadInput, match=r"(?s)found -0.1.*found 90.*90% is written 0.9"):
        confidence_of("test", PROBABILITIES, [90, 0.5, -0.1])
