"""The part "thresholds": a threshold per class, chosen on validation rows for an objective that the user names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from submillion import notices
from submillion.assess.confidence.choose_thresholds import LEAST_ROWS, for_macro_f1, for_precision
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.paired_tests import paired
from submillion.assess.statistics.proportions import wilson_interval
from submillion.errors import BadInput, Problem
from submillion.model.class_thresholds import (
    MACRO_F1,
    NONE,
    PART,
    PRECISION,
    ClassThresholds,
    ThresholdRequest,
)
from submillion.run_format.analysis_thresholds import (
    AnsweredClass,
    Answers,
    CrossFitted,
    ThresholdEffect,
    Thresholds,
)
from submillion.run_format.interval import interval
from submillion.run_format.predictions import Predictions
from submillion.wording import plural

FOLDS = 5
RULES = {
    MACRO_F1: "The answer is the class with the largest ratio of its probability to its threshold.",
    PRECISION: (
        "The answer is the most probable class if its probability reaches its threshold, else there is none. A "
        "threshold is the lowest one for which the precision of the class on the rows that choose has a lower limit "
        "(exact, one-sided, 95%) at or above the target."
    ),
}
LIMITATIONS = (
    "The scores on the rows that chose the thresholds are too good. The cross-fitted scores are of rows that did not "
    "choose: each fold is answered with thresholds chosen on the others. The checkpoint was selected on the same rows."
)


def analyse(context: RunContext) -> Thresholds:
    """Choose a threshold per class on the validation rows, and score the answers with them.

    The objective is the one of the request, else that of the run's present thresholds, else macro F1. With a
    cross-validation the validation rows are training rows, predicted by models that were trained without them.

    Raises:
        BadInput: there are no labelled validation rows, or for macro F1 no class has enough of them.
    """
    request = context.class_thresholds or _present(context)
    saved = context.labelled_splits()
    if "validation" not in saved:
        where = str(context.run.prediction_file("validation"))
        raise BadInput(Problem(where, "labelled validation rows, which choose the thresholds", "none"))
    rows, names = saved["validation"], context.labels
    labels = rows.known_labels()
    counts = np.bincount(labels, minlength=len(names))
    least = LEAST_ROWS if request.target is None else 0
    if counts.max() < least:
        expected = f"a class with at least {least} validation rows"
        most = f"{plural(int(counts.max()), 'row')} in the largest"
        raise BadInput(Problem("@{class_thresholds}", expected, most))
    chosen = _choose(request, rows.probabilities, labels)
    rng = np.random.default_rng(context.seed)
    test = saved.get("test")
    found: Thresholds = {
        "objective": request.objective,
        "target": request.target,
        "rule": RULES[request.objective],
        "limitations": LIMITATIONS,
        "split": "validation",
        "least_rows": least,
        "classes": {
            name: {
                "threshold": float(chosen.values[index]) if np.isfinite(chosen.values[index]) else None,
                "rows": int(counts[index]),
            }
            for index, name in enumerate(names)
        },
        "chosen_on": _effect(rows, chosen.answers, rng),
        "cross_fitted": _cross_fitted(request, rows, rng),
        "test": None if test is None else _effect(test, chosen.answers, rng),
    }
    if context.class_thresholds is not None:
        _notice(found)
    return found


def _present(context: RunContext) -> ThresholdRequest:
    """Return the request of the run's present thresholds, or that of macro F1."""
    present = context.run.read_analysis(PART) or {}
    return ThresholdRequest(present.get("objective", MACRO_F1), present.get("target"))


def _choose(request: ThresholdRequest, probabilities: np.ndarray, labels: np.ndarray) -> ClassThresholds:
    """Return the thresholds for probabilities [N, C] with their labels, int [N]."""
    if request.target is None:
        return ClassThresholds(request.objective, for_macro_f1(probabilities, labels))
    return ClassThresholds(request.objective, for_precision(probabilities, labels, request.target))


def _cross_fitted(request: ThresholdRequest, rows: Predictions, rng: np.random.Generator) -> CrossFitted:
    """Return the effect on each fold of the rows of thresholds chosen on the other folds."""
    labels = rows.known_labels()
    # One row of each class after another goes to the next fold, so that every fold has its share of each class.
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    folds = min(FOLDS, len(labels))
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % folds

    def answer(probabilities: np.ndarray) -> np.ndarray:
        answers = np.empty(len(labels), dtype=np.int64)
        for number in range(folds):
            inside = fold == number
            chosen = _choose(request, probabilities[~inside], labels[~inside])
            answers[inside] = chosen.answers(probabilities[inside])
        return answers

    return {**_effect(rows, answer, rng), "folds": folds}


def _effect(
    rows: Predictions, answer: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> ThresholdEffect:
    labels, names = rows.known_labels(), rows.label_names
    before, after = rows.predicted, answer(rows.probabilities)
    described = partial(_answers, labels, names=names)
    all_answered = bool((after != NONE).all())
    return {
        "rows": len(labels),
        "without": described(before),
        "with_thresholds": described(after),
        "comparison": paired(labels, after, before, len(names), rng) if all_answered else None,
    }


def _answers(labels: np.ndarray, answers: np.ndarray, names: list[str]) -> Answers:
    answered = answers != NONE
    right = answers == labels
    return {
        "answered": int(answered.sum()),
        "accuracy": float(right[answered].mean()) if answered.any() else None,
        "by_class": {
            name: _class(right[answers == index], right[labels == index]) for index, name in enumerate(names)
        },
    }


def _class(right_of_answered: np.ndarray, right_of_labelled: np.ndarray) -> AnsweredClass:
    count, hits = len(right_of_answered), int(right_of_answered.sum())
    return {
        "answered": count,
        "precision": hits / count if count else None,
        "precision_interval": wilson_interval(hits, count) if count else interval(None),
        "recall": float(right_of_labelled.mean()) if len(right_of_labelled) else None,
    }


def _notice(found: Thresholds) -> None:
    """Tell the effect on rows that did not choose the thresholds."""
    fitted = found["cross_fitted"]
    if found["objective"] == MACRO_F1 and fitted["comparison"] is not None:
        change = fitted["comparison"]["macro_f1"]
        limits = change["difference_interval"]
        reach = (
            f", 95% interval {limits['low']:+.4f} to {limits['high']:+.4f}"
            if limits["low"] is not None and limits["high"] is not None
            else ""
        )
        text = (
            f"on {fitted['rows']:,} validation rows that did not choose their thresholds, macro F1 is "
            f"{change['a']:.4f} with them and {change['b']:.4f} without ({change['difference']:+.4f}{reach})."
        )
        if change["difference"] <= 0:
            text += " They bring no gain; predict without them."
        notices.emit("class_thresholds", text, objective=MACRO_F1, difference=change["difference"])
        return
    never = [name for name, entry in found["classes"].items() if entry["threshold"] is None]
    answers, target = fitted["with_thresholds"], found["target"]
    precision = "undefined" if answers["accuracy"] is None else f"{answers['accuracy']:.4f}"
    text = (
        f"on {fitted['rows']:,} validation rows that did not choose their thresholds, {answers['answered']:,} are "
        f"answered, a share of {precision} of them correctly."
    )
    if never:
        shown = ", ".join(never[:8]) + (", ..." if len(never) > 8 else "")
        text += f" No threshold reaches a precision of {target:g} for {shown}: never answered."
    notices.emit("class_thresholds", text, objective=PRECISION, never=never)
