"""How sure one may be of scores and of differences: intervals by split and class, paired tests, Holm's rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from submillion.assess.metrics import wilson, wilson_interval
from submillion.assess.statistics.bootstrap import (
    RESAMPLES,
    Bca,
    macro_f1,
    one_left_out,
    resampled_counts,
    tabulate,
)
from submillion.run_format.interval import ALPHA, CONFIDENCE, Interval, interval

if TYPE_CHECKING:
    import numpy as np

    from submillion.assess.run_context import RunContext

SPLITS = ("validation", "test")


def analyse(context: RunContext) -> dict[str, Any]:
    """Say how sure one may be of the run's scores on its own labelled splits.

    Returns:
        `resamples`, and `splits`: {split: scores}, where scores are
        `rows`;
        `accuracy`: an interval, Wilson's;
        `macro_f1`: an interval by the bootstrap of rows (BCa, see `bootstrap.Bca`); the limits are None, not
        known, where no resample differs from another, as on a split without a mistake;
        `per_class`: {name: {`support`, `predicted`, `precision`, `recall`, `f1`}}, the last three
        intervals, undefined where the class was never predicted, or has no rows, or neither.
    """
    import numpy as np

    rng = np.random.default_rng(context.seed)
    found = {}
    for split, saved in labelled_splits(context).items():
        cells, counts = tabulate(saved.labels, saved.predicted)
        found[split] = scores(cells, counts, context.labels, rng)
    return {"resamples": RESAMPLES, "splits": found}


def labelled_splits(context: RunContext) -> dict[str, dict[str, Any]]:
    """Return the saved predictions of those of the run's own splits that have labels, and rows.

    Files scored later are left out: what an analysis says must not change because something else was scored.
    """
    present = context.run.prediction_splits()
    saved = {split: context.predictions(split) for split in SPLITS if split in present}
    return {name: split for name, split in saved.items() if split.labels is not None and split.ids}


def f1_interval(right: int, touched: int, confidence_level: float = CONFIDENCE) -> Interval:
    """Return the interval of a class's F1.

    F1 = 2 J / (1 + J), where J is the share of right rows among those that have the class as label or
    prediction; Wilson's interval of J is carried over. Unlike the bootstrap's it has a width where every row
    is right. Lam, Gopal and Qian 2023, arXiv:2309.14621: the "Wilson indirect" method.

    Args:
        right: rows labelled and predicted as the class.
        touched: rows labelled or predicted as the class.
    """
    if not touched:
        return interval(None, confidence_level=confidence_level)
    low, high = wilson(right, touched, confidence_level)
    return interval(
        2 * right / (right + touched), 2 * low / (1 + low), 2 * high / (1 + high), confidence_level
    )


def paired(
    labels: Sequence[int] | np.ndarray,
    predicted_a: Sequence[int] | np.ndarray,
    predicted_b: Sequence[int] | np.ndarray,
    n_classes: int,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Compare two classifiers on the same rows; differences are a minus b, as shares.

    Args:
        labels: class index per row, [N], N at least 1.
        predicted_a: predicted class of each row by the one, [N].
        predicted_b: by the other, [N].
        n_classes: how many classes there are.
        rng: where the bootstrap draws from; the same state gives the same answer.
        resamples: of the bootstrap.

    Returns:
        `rows`, `resamples`;
        `only_a` and `only_b`: rows that only the one got right;
        `accuracy`: {`a`, `b`, `difference`, `difference_interval`, `p`, `bootstrap_interval`}. The interval is
        that of `difference_interval`, p the exact one of `mcnemar`; the paired bootstrap's interval (BCa) stands
        beside them as a check that shares no assumption with them;
        `macro_f1`: {`a`, `b`, `difference`, `difference_interval`, `p`} by the paired bootstrap (BCa).
        The limits of a bootstrap interval are None, and its p 1, where no resample differs from another.
    """
    import numpy as np

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

    here = differences(counts[None])[0]
    drawn = np.concatenate([differences(tables) for tables in resampled_counts(counts, resamples, rng)])
    left_out = differences(one_left_out(counts)) if len(truth) > 1 else np.zeros((len(counts), 2))
    by_accuracy, by_f1 = (Bca(here[i], drawn[:, i], left_out[:, i], counts) for i in (0, 1))
    return {
        "rows": len(truth),
        "resamples": resamples,
        "only_a": only_a,
        "only_b": only_b,
        "accuracy": {
            "a": float(right[0] @ counts) / len(truth),
            "b": float(right[1] @ counts) / len(truth),
            "difference": (only_a - only_b) / len(truth),
            "difference_interval": difference_interval(only_a, only_b, len(truth)),
            "p": mcnemar(only_a, only_b),
            "bootstrap_interval": by_accuracy.interval(),
        },
        "macro_f1": {
            "a": float(macro_f1(counts[None], of_label, of_first, n_classes)[0]),
            "b": float(macro_f1(counts[None], of_label, of_second, n_classes)[0]),
            "difference": float(here[1]),
            "difference_interval": by_f1.interval(),
            "p": by_f1.p_value(),
        },
    }


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p of McNemar's test: are the rows that one alone got right split evenly?

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947) 153-157; exact: only_a is binomial with 1/2 out of only_a + only_b.
    Recommended for two classifiers and one test set by T. G. Dietterich, Neural Computation 10 (1998) 1895.
    """
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0


def difference_interval(
    only_a: int, only_b: int, rows: int, confidence_level: float = CONFIDENCE
) -> Interval:
    """Return the interval of the difference of two accuracies on the same rows, as shares.

    A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24 (2005) 729-740: the normal interval after half a row is added to each of the
    four cells. It has a width even where both are right on the same rows, which the bootstrap has not.
    """
    z = NormalDist().inv_cdf(0.5 + confidence_level / 2)
    total = rows + 2
    centre = (only_a - only_b) / total
    reach = z * math.sqrt(only_a + only_b + 1 - (only_a - only_b) ** 2 / total) / total
    low, high = max(centre - reach, -1.0), min(centre + reach, 1.0)
    return interval((only_a - only_b) / rows, low, high, confidence_level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the order given.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
    (1979) 65-70: the k-th smallest of m is multiplied by m - k + 1, and none may be below a smaller one's.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def unshown(p: float, comparisons: int) -> str:
    """Say that no difference is shown, and that the number of comparisons is why where one alone would show it.

    Args:
        p: of this comparison alone.
        comparisons: that are made together.
    """
    several = f" once {comparisons} comparisons are counted" if p < ALPHA else ""
    return f"no difference shown{several}"


def scores(
    cells: np.ndarray, counts: np.ndarray, names: Sequence[str], rng: np.random.Generator
) -> dict[str, Any]:
    """Return one split's scores as `analyse` documents them."""
    import numpy as np

    labels, predicted = cells.T
    rows, right = int(counts.sum()), counts * (labels == predicted)

    def macro(tables: np.ndarray) -> np.ndarray:
        return macro_f1(tables, labels, predicted, len(names))

    value = float(macro(counts[None])[0])
    drawn = np.concatenate([macro(tables) for tables in resampled_counts(counts, RESAMPLES, rng)])
    spread = Bca(value, drawn, macro(one_left_out(counts)), counts).interval() if rows > 1 else None
    per_class = {}
    for index, name in enumerate(names):
        support, answers = int(counts[labels == index].sum()), int(counts[predicted == index].sum())
        hits = int(right[labels == index].sum())
        touched = support + answers - hits
        per_class[name] = {
            "support": support,
            "predicted": answers,
            "precision": wilson_interval(hits, answers),
            "recall": wilson_interval(hits, support),
            "f1": f1_interval(hits, touched),
        }
    return {
        "rows": rows,
        "accuracy": wilson_interval(int(right.sum()), rows),
        "macro_f1": spread or interval(value),
        "per_class": per_class,
    }
