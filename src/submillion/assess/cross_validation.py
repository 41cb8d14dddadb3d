"""The part "cross_validation": the scores of every fold and repeat, and the accuracy to be expected."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t

from submillion.assess.run_context import RunContext
from submillion.assess.statistics.bootstrap import macro_f1, tabulate
from submillion.assess.statistics.intervals import split_intervals
from submillion.assess.statistics.proportions import wilson_interval
from submillion.data.folds import NEVER
from submillion.errors import BadInput, Problem
from submillion.run_format.analysis_cross_validation import CrossValidated, FoldScores, RepeatScores, Scores
from submillion.run_format.interval import CONFIDENCE, Interval, interval
from submillion.run_format.predictions import Predictions

MEANING = (
    "Every row was predicted by a model that was trained without it, on the other folds, with the same recipe. The "
    "run's own model is trained on all rows, so it is likely to be a little better than these."
)
LIMITATIONS = (
    "Rows that belong together (of one author, one conversation) may be in different folds; only equal texts are kept "
    "together. Whoever chooses a recipe by these scores makes them too good."
)


def repeat_folder(repeat: int) -> str:
    """Return the folder below `analysis/baselines` with the predictions of a repeat after the first one."""
    return f"cross-validation-{repeat}"


def analyse(context: RunContext) -> CrossValidated:
    """Score every fold and every repeat of the run's cross-validation.

    The accuracy is the mean over the repeats. Its interval covers both of two intervals, because each is too narrow in
    some cases: Wilson's for the number of rows (repeats give no new rows); and that of the corrected resampled t-test
    (`resampled_t`), for which training sets that overlap vary less than independent ones. Macro F1 is that of all rows
    of a repeat, not the mean of folds, which is biased (G. Forman and M. Scholz, "Apples-to-apples in cross-validation
    studies", SIGKDD Explorations 12 (2010) 49-57); in place of Wilson's, its interval covers the bootstrap's of the
    first repeat.

    Raises:
        BadInput: the run has no cross-validation, or predictions are not of its rows.
    """
    folds = context.corpus.folds
    if folds is None:
        where = str(context.run.manifest)
        raise BadInput(Problem(where, "a run with data.validation=cross-validation", "another one"))
    labels = np.asarray(context.corpus.validation.labels)
    context.texts(context.corpus.validation.name)  # refuses texts that are not those that were predicted
    scores: list[FoldScores] = []
    by_repeat: list[RepeatScores] = []
    for repeat in range(1, folds.repeats + 1):
        predicted = _predictions(context, repeat).predicted
        numbers = folds.numbers(repeat)
        own = numbers[numbers != NEVER]
        by_repeat.append({"repeat": repeat, **_scores(labels, predicted, len(context.labels))})
        for fold in range(folds.count):
            held_out = own == fold
            scores.append(
                {
                    "repeat": repeat,
                    "fold": fold + 1,
                    "rows": int(held_out.sum()),
                    "trained_on": int((numbers != fold).sum()),
                    **_scores(labels[held_out], predicted[held_out], len(context.labels)),
                }
            )
    accuracy = math.fsum(entry["accuracy"] for entry in by_repeat) / folds.repeats
    f1 = math.fsum(entry["macro_f1"] for entry in by_repeat) / folds.repeats
    ratio = math.fsum(entry["rows"] / entry["trained_on"] for entry in scores) / len(scores)
    first = split_intervals(
        labels, _predictions(context, 1).predicted, context.labels, np.random.default_rng(context.seed)
    )
    binomial = wilson_interval(round(accuracy * len(labels)), len(labels))
    return {
        "meaning": MEANING,
        "limitations": LIMITATIONS,
        "folds": folds.count,
        "repeats": folds.repeats,
        "rows": len(labels),
        "never_predicted": len(folds.labels) - len(labels),
        "scores": scores,
        "by_repeat": by_repeat,
        "accuracy": _hull(
            accuracy, resampled_t([entry["accuracy"] for entry in scores], ratio, accuracy), binomial
        ),
        "macro_f1": _hull(
            f1, resampled_t([entry["macro_f1"] for entry in scores], ratio, f1), first["macro_f1"]
        ),
    }


def resampled_t(scores: Sequence[float], ratio: float, centre: float) -> Interval:
    """Return the interval of the corrected resampled t-test around a score.

    C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52 (2003) 239-281: with J scores
    of variance s^2 (divided by J - 1), the variance of their mean is estimated by (1 / J + n_test / n_train) s^2 in
    place of s^2 / J, and Student's t with J - 1 degrees of freedom is used. They state it for random divisions;
    R. Bouckaert and E. Frank, "Evaluating the replicability of significance tests for comparing learning algorithms",
    PAKDD 2004, use it for repeated folds.

    Args:
        scores: of every fold of every repeat, J of them, at least 2.
        ratio: n_test / n_train.
        centre: the score that the interval is of.
    """
    count = len(scores)
    mean = math.fsum(scores) / count
    variance = math.fsum((score - mean) ** 2 for score in scores) / (count - 1)
    reach = float(t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * math.sqrt((1 / count + ratio) * variance)
    return interval(centre, max(0.0, centre - reach), min(1.0, centre + reach))


def _hull(value: float, one: Interval, other: Interval) -> Interval:
    """Return the smallest interval that covers both; without limits if one has none and the other has no width."""
    if None in (one["low"], other["low"]) and one["low"] == one["high"]:
        return interval(value)
    lows = [limits["low"] for limits in (one, other) if limits["low"] is not None]
    highs = [limits["high"] for limits in (one, other) if limits["high"] is not None]
    return interval(value, min(value, *lows), max(value, *highs))


def _predictions(context: RunContext, repeat: int) -> Predictions:
    """Return the predictions of a repeat.

    Raises:
        BadInput: they are not of the rows of the first one.
    """
    first = context.predictions(context.corpus.validation.name)
    if repeat == 1:
        return first
    name = repeat_folder(repeat)
    saved = context.run.load_predictions(context.corpus.validation.name, baseline=name)
    if (saved.text_sha256, saved.label_names) != (first.text_sha256, first.label_names):
        where = str(context.run.prediction_file(context.corpus.validation.name, baseline=name))
        raise BadInput(Problem(where, "predictions of the rows of the first repeat", "other rows"))
    return saved


def _scores(labels: np.ndarray, predicted: np.ndarray, classes: int) -> Scores:
    cells, counts = tabulate(labels, predicted)
    of_label, of_predicted = cells.T
    f1 = macro_f1(counts[None], of_label, of_predicted, classes)
    return {"accuracy": float((labels == predicted).mean()), "macro_f1": float(f1[0])}
