"""The bootstrap of counts is the bootstrap of rows, and its limits are those of scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.assess.statistics import bootstrap
from submillion.assess.statistics.bootstrap import (
    Bca,
    macro_f1,
    one_left_out,
    percentile_limits,
    resampled_counts,
    resampled_rows,
    tabulate,
)
from submillion.run_format.interval import interval
from support.intervals import limits


def test_cells_by_hand() -> None:
    cells, counts = tabulate(np.array([1, 0, 1, 1]), np.array([2, 0, 2, 1]))
    assert cells.tolist() == [[0, 0], [1, 1], [1, 2]]
    assert counts.tolist() == [1, 1, 2]
    (tables,) = one_left_out(counts)
    assert tables.tolist() == [[0, 1, 2], [1, 0, 2], [1, 1, 1]]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(1, 50), st.integers(0, 2**20))
def test_macro_f1_of_a_table_is_scikit_learns(classes: int, rows: int, seed: int) -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, classes, (2, rows))
    cells, counts = tabulate(labels, predicted)
    found = macro_f1(counts[None], *cells.T, n_classes=classes + 1)  # one class more, which does not occur
    assert found == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0.0))


def test_tables_of_a_batch_do_not_mix() -> None:
    cells, counts = tabulate(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]))
    rng = np.random.default_rng(0)
    tables = rng.multinomial(40, counts / 4, size=9)
    one_by_one = [macro_f1(table[None], *cells.T, n_classes=3)[0] for table in tables]
    assert macro_f1(tables, *cells.T, n_classes=3).tolist() == one_by_one


def test_resampled_cells_vary_like_resampled_rows() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(3)
    labels = rng.choice(3, 150, p=[0.6, 0.3, 0.1])
    predicted = np.where(rng.random(150) < 0.85, labels, rng.integers(0, 3, 150))
    cells, counts = tabulate(labels, predicted)
    by_cells = np.concatenate(
        [macro_f1(tables, *cells.T, n_classes=3) for tables in resampled_counts(counts, 4000, rng)]
    )
    by_rows = []
    for _ in range(800):
        rows = rng.integers(150, size=150)
        by_rows.append(f1_score(labels[rows], predicted[rows], average="macro", zero_division=0.0))
    assert by_cells.mean() == pytest.approx(np.mean(by_rows), abs=0.006)  # the standard error is 0.0014
    assert by_cells.std() == pytest.approx(np.std(by_rows), rel=0.12)


def test_blocks_add_up_whatever_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "BLOCK", 10)
    rng = np.random.default_rng(0)
    blocks = list(resampled_counts(np.array([4, 1, 2]), 8, rng))
    assert [len(block) for block in blocks] == [3, 3, 2]
    assert (np.concatenate(blocks).sum(axis=1) == 7).all()
    rows = list(resampled_rows(4, 5, rng))
    assert [block.shape for block in rows] == [(2, 4), (2, 4), (1, 4)]
    assert (np.concatenate(rows).sum(axis=1) == 4).all()
    assert sum(len(block) for block in resampled_rows(11, 3, rng)) == 3  # one row is more than a block holds


def test_every_row_is_drawn_as_often_as_the_others() -> None:
    drawn = np.concatenate(list(resampled_rows(5, 20_000, np.random.default_rng(0))))
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.03)
    np.testing.assert_allclose(drawn.var(axis=0), 0.8, atol=0.05)  # of the multinomial: 1 - 1/5


def test_bca_limits_are_scipys() -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(1)
    values = rng.exponential(size=40)  # skewed, so that both corrections matter
    theirs = bootstrap((values,), np.std, method="BCa", n_resamples=20_000, rng=2)
    drawn = theirs.bootstrap_distribution
    left_out = np.array([np.delete(values, row).std() for row in range(40)])
    ours = Bca(values.std(), drawn, left_out, np.ones(40, dtype=int))
    assert limits(ours.interval()) == pytest.approx(list(theirs.confidence_interval), rel=1e-3)
    assert abs(percentile_limits(drawn)[1] / theirs.confidence_interval[1] - 1) > 0.05, "nothing to correct"


def test_p_is_the_level_whose_interval_touches_zero() -> None:
    rng = np.random.default_rng(5)
    values = rng.exponential(size=30) - 0.7
    drawn = values[rng.integers(30, size=(20_000, 30))].mean(axis=1)
    left_out = (values.sum() - values) / 29
    found = Bca(values.mean(), drawn, left_out, np.ones(30, dtype=int))
    p = found.p_value()
    assert 0.01 < p < 0.5
    ends = limits(found.interval(1 - p))
    assert min(abs(limit) for limit in ends) < 2e-3


def test_without_spread_nothing_is_claimed() -> None:
    found = Bca(1.0, np.ones(100), np.ones(3), np.array([5, 5, 5]))
    assert not found.defined
    assert found.interval() == interval(1.0)
    assert found.p_value() == 1.0
