"""Comparison of two classifiers on the same rows: McNemar's test and the paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import binomtest

from submillion.assess.statistics.bootstrap import (
    RESAMPLES,
    Bca,
    macro_f1,
    one_left_out,
    resampled_counts,
    tabulate,
)
from submillion.assess.statistics.proportions import paired_interval
from submillion.run_format.analysis import PairedComparison


def paired(
    labels: Sequence[int] | np.ndarray,
    predicted_a: Sequence[int] | np.ndarray,
    predicted_b: Sequence[int] | np.ndarray,
    n_classes: int,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> PairedComparison:
    """Compare two classifiers on the same rows; differences are a minus b, as shares.

    The accuracies are compared by `paired_interval` and `mcnemar`, macro F1 by the paired bootstrap (BCa). The
    bootstrap interval of the accuracies is a check that shares no assumption with the others.

    Args:
        labels: class index per row, [N], N at least 1.
        predicted_a: class predicted by a per row, [N].
        predicted_b: class predicted by b per row, [N].
        n_classes: number of classes.
        rng: source of the bootstrap's draws; the same state gives the same result.
        resamples: number of bootstrap resamples.

    Returns:
        The limits of a bootstrap interval are None, and its p is 1, if all resamples agree.
    """
    truth, first, second = (np.asarray(column) for column in (labels, predicted_a, predicted_b))
    cells, counts = tabulate(truth, first, second)
    of_label, of_first, of_second = cells.T
    right = (of_first == of_label).astype(np.float64), (of_second == of_label).astype(np.float64)
    only_a, only_b = (int(counts[(right[i] > right[1 - i])].sum()) for i in (0, 1))

    def differences(tables: np.ndarray) -> np.ndarray:
        """Return difference in accuracy and in macro F1 of each table, [B, 2]."""
        accuracy = tables @ (right[0] - right[1]) / tables.sum(axis=1)
        first_f1 = macro_f1(tables, of_label, of_first, n_classes)
        second_f1 = macro_f1(tables, of_label, of_second, n_classes)
        return np.stack([accuracy, first_f1 - second_f1], axis=1)

    by_accuracy, by_f1 = _bootstrapped(differences, counts, rng, resamples)
    f1 = by_f1.interval()
    return {
        "rows": len(truth),
        "resamples": resamples,
        "only_a": only_a,
        "only_b": only_b,
        "accuracy": {
            "a": float(right[0] @ counts) / len(truth),
            "b": float(right[1] @ counts) / len(truth),
            "difference": (only_a - only_b) / len(truth),
            "difference_interval": paired_interval(only_a, only_b, len(truth)),
            "p": mcnemar(only_a, only_b),
            "bootstrap_interval": by_accuracy.interval(),
        },
        "macro_f1": {
            "a": float(macro_f1(counts[None], of_label, of_first, n_classes)[0]),
            "b": float(macro_f1(counts[None], of_label, of_second, n_classes)[0]),
            "difference": float(differences(counts[None])[0, 1]),
            "difference_interval": f1,
            "p": by_f1.p_value(),
        },
    }


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p of McNemar's test: are the rows that only one got right split evenly?

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947) 153-157; exact: only_a is binomial with 1/2 out of only_a + only_b.
    Recommended for two classifiers and one test set by T. G. Dietterich, Neural Computation 10 (1998) 1895.
    """
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0


def _bootstrapped(
    statistics: Callable[[np.ndarray], np.ndarray],
    counts: np.ndarray,
    rng: np.random.Generator,
    resamples: int,
) -> list[Bca]:
    """Return the bootstrap of each of several statistics of counts.

    Args:
        statistics: maps tables of counts [B, K] to their statistics [B, S].
        counts: rows in each cell, int [K].
        rng: source of the draws.
        resamples: number of resamples.
    """
    values = statistics(counts[None])[0]
    drawn = np.concatenate([statistics(tables) for tables in resampled_counts(counts, resamples, rng)])
    left_out = np.zeros((len(counts), len(values)))
    if counts.sum() > 1:
        left_out = np.concatenate([statistics(tables) for tables in one_left_out(counts)])
    return [Bca(float(value), drawn[:, i], left_out[:, i], counts) for i, value in enumerate(values.tolist())]
