"""Tests of the samples that the studies of few labels draw."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.study import drawn, size_text


def test_a_class_with_fewer_rows_gives_all_of_them() -> None:
    labels = np.array([0] * 20 + [1] * 3)
    counts = np.bincount(labels[drawn(labels, 8, seed=0)])
    assert counts.tolist() == [8, 3]


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    labels = np.arange(60) % 3
    assert set(drawn(labels, 4, seed=1)) < set(drawn(labels, 16, seed=1))


def test_more_rows_than_there_are_is_refused() -> None:
    labels = np.zeros(1_200, int)
    assert len(drawn(labels, 1_200, seed=0)) == 1_200
    with pytest.raises(SystemExit, match="at most 1,200 rows in all, found 2,000"):
        drawn(labels, 2_000, seed=0)


def test_a_size_is_of_each_class_or_of_all_rows() -> None:
    assert [size_text(size) for size in ("8", 1_000, "3500")] == ["8", "1,000 rows", "3,500 rows"]
