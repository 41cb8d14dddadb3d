"""Tests of the power of a sample of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from submillion.verification.run.sampling import CERTAIN, changed_rows_found, escape_probability, power


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 500))
def test_changed_rows_escape_with_the_hypergeometric_probability(
    rows: int, sampled: int, changed: int
) -> None:
    sampled, changed = min(sampled, rows), min(changed, rows)
    expected = hypergeom(rows, changed, sampled).pmf(0)
    assert escape_probability(rows, sampled, changed) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("rows", "sampled"), [(2189, 200), (40, 3), (500, 499), (7, 1)])
def test_no_smaller_number_of_changed_rows_is_as_likely_to_be_found(rows: int, sampled: int) -> None:
    changed = changed_rows_found(rows, sampled)
    assert escape_probability(rows, sampled, changed) <= CERTAIN
    assert changed == 1 or escape_probability(rows, sampled, changed - 1) > CERTAIN


def test_a_sample_agrees_with_drawing_it() -> None:
    rng = np.random.default_rng(0)
    missed = np.mean([rng.choice(50, 10, replace=False).min() >= 5 for _ in range(4000)])
    assert escape_probability(50, 10, 5) == pytest.approx(missed, abs=0.03)


def test_the_sentence_says_how_likely_changed_rows_are_to_escape() -> None:
    assert power(2189, 200) == (
        "200 of 2,189 rows, which 5 changed rows escape with a probability of 62% and 32 with at most 5%"
    )
    assert power(40, 40) == "all 40 rows"
    assert power(1, 0).startswith("0 of 1 rows, which 1 changed row escapes")
