"""The part "intervals": accuracy, macro F1 and scores by class with their confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from submillion.assess.run_context import RunContext
from submillion.assess.statistics.bootstrap import (
    RESAMPLES,
    Bca,
    macro_f1,
    one_left_out,
    resampled_counts,
    tabulate,
)
from submillion.assess.statistics.proportions import f1_interval, wilson_interval
from submillion.run_format.analysis import ClassIntervals, Intervals, SplitIntervals
from submillion.run_format.interval import interval


def analyse(context: RunContext) -> Intervals:
    """Compute the intervals of the run's scores on its own labelled splits."""
    rng = np.random.default_rng(context.seed)
    splits = {
        split: split_intervals(saved.labels, saved.predicted, context.labels, rng)
        for split, saved in context.labelled_splits().items()
        if saved.labels is not None
    }
    return {"resamples": RESAMPLES, "splits": splits}


def split_intervals(
    labels: np.ndarray, predicted: np.ndarray, names: Sequence[str], rng: np.random.Generator
) -> SplitIntervals:
    """Compute one split's scores with their intervals.

    Accuracy, precision and recall have Wilson's interval, F1 of a class that of `f1_interval`, macro F1 that of
    the bootstrap over rows (`Bca`), whose limits are None if all resamples agree, as without a mistake.

    Args:
        labels: class index per row, int [N], N at least 1.
        predicted: predicted class per row, int [N].
        names: the C class names.
        rng: source of the bootstrap's draws.
    """
    cells, counts = tabulate(labels, predicted)
    of_label, of_predicted = cells.T
    right = counts * (of_label == of_predicted)

    def macro(tables: np.ndarray) -> np.ndarray:
        return macro_f1(tables, of_label, of_predicted, len(names))

    value = float(macro(counts[None])[0])
    drawn = np.concatenate([macro(tables) for tables in resampled_counts(counts, RESAMPLES, rng)])
    spread = interval(value)
    if len(labels) > 1:
        left_out = np.concatenate([macro(tables) for tables in one_left_out(counts)])
        spread = Bca(value, drawn, left_out, counts).interval()
    per_class: dict[str, ClassIntervals] = {}
    for index, name in enumerate(names):
        support = int(counts[of_label == index].sum())
        answers = int(counts[of_predicted == index].sum())
        hits = int(right[of_label == index].sum())
        per_class[name] = {
            "support": support,
            "predicted": answers,
            "precision": wilson_interval(hits, answers),
            "recall": wilson_interval(hits, support),
            "f1": f1_interval(hits, support + answers - hits),
        }
    return {
        "rows": len(labels),
        "accuracy": wilson_interval(int(right.sum()), len(labels)),
        "macro_f1": spread,
        "per_class": per_class,
    }
