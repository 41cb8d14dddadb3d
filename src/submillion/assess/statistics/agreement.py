"""Compares the answers of another form of a run, such as an exported file or int8, with the run's own."""

from __future__ import annotations

import numpy as np

from submillion.assess.statistics.proportions import paired_interval
from submillion.run_format.agreement import SplitAgreement


def agreement(other: np.ndarray, run: np.ndarray, labels: np.ndarray) -> SplitAgreement:
    """Return how far the answers of another form are those of the run.

    Args:
        other: its probabilities [N, C], N at least 1.
        run: the probabilities of the run [N, C].
        labels: class per row [N], -1 for a row without a label.
    """
    by_other, by_run = other.argmax(axis=1), run.argmax(axis=1)
    known = labels >= 0
    right, right_in_run = known & (by_other == labels), known & (by_run == labels)
    only_other, only_run = int((right & ~right_in_run).sum()), int((right_in_run & ~right).sum())
    labelled = int(known.sum())
    largest = float(np.abs(other.astype(np.float64) - run.astype(np.float64)).max())
    return {
        "rows": len(labels),
        "argmax_agreement": int((by_other == by_run).sum()) / len(labels),
        "max_probability_difference": largest,
        "accuracy": int(right.sum()) / labelled if labelled else None,
        "accuracy_difference": (only_other - only_run) / labelled if labelled else None,
        "interval": paired_interval(only_other, only_run, labelled) if labelled else None,
    }
