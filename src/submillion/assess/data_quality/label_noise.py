"""The part "noise": labels that look wrong, by confident learning on out-of-fold probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from submillion.assess.data_quality.confident_learning import RESAMPLES, label_issues
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.proportions import wilson_interval
from submillion.data.corpus import Split
from submillion.errors import BadInput, Problem
from submillion.run_format.analysis_data import Noise, SplitLabelIssues
from submillion.run_format.predictions import Predictions

SAVED_AS = "noise"
"""Folder of the probabilities below `analysis/baselines`."""
FOLDS = 5
STRENGTH = 10.0
"""C of the logistic regression."""
MAX_ITERATIONS = 500
MAX_SUSPECTS = 50
MAX_SPLIT_SUSPECTS = 20

MODEL = (
    "TF-IDF of words (scikit-learn, sublinear, words of at least 2 texts) and logistic regression "
    f"(C = {STRENGTH:g}), independent of the run's classifier."
)
MEANING = (
    "Each training row is answered by a model that was trained without it. The noise rate is the estimated share of "
    "rows whose true class differs from the given one: rows for which the model is more confident of another class "
    "than it is, on average, of that class's own rows (confident learning, Northcutt, Jiang and Chuang 2021). For "
    "every pair of classes, as many rows as estimated are candidates, those with the largest lead of the other class."
)
LIMITATIONS = (
    "Only a reader can tell whether a candidate's label is wrong. Hard rows with correct labels are among the "
    "candidates, so with a weak model the noise rate is too high; systematic errors, which the model learns like "
    "everything else, and wrong labels shared by near-duplicates are not found. The interval covers the sampling of "
    "rows only."
)


def analyse(context: RunContext) -> Noise:
    """Find labels that look wrong in the training rows, and among the run's mistakes on `context.split`.

    The method is confident learning (C. Northcutt, L. Jiang and I. Chuang, "Confident learning: estimating
    uncertainty in dataset labels", JAIR 70 (2021) 1373-1411, arXiv:1911.00068), by cleanlab: thresholds are the
    mean probability of each class on its own rows (equation 2), counts of given and suggested classes follow
    from them (equation 1) and are scaled to the rows of each class (equation 3); candidates are pruned by noise rate
    (section 3.2). The out-of-fold probabilities are saved below `analysis/baselines/noise`. On `context.split`, the
    run's own probabilities are used, so all candidates there are mistakes of the run.

    Raises:
        BadInput: cleanlab is not installed, there are too few rows, or texts are not the run's.
    """
    check_cleanlab()
    train, names = context.train, context.labels
    folds, judged = _judged_classes(train, len(names))
    rows = _rows_of(train, judged)
    labels = [judged.index(train.labels[row]) for row in rows]
    probabilities = cross_validated([train.texts[row] for row in rows], labels, folds, context.seed)
    context.run.save_predictions(
        "train",
        Predictions.of(
            [train.ids[row] for row in rows],
            [train.text_sha256(row) for row in rows],
            labels,
            probabilities,
            [names[index] for index in judged],
        ),
        baseline=SAVED_AS,
    )
    return recheck(context, {})


def recheck(context: RunContext, saved: Mapping[str, Any]) -> Noise:  # noqa: ARG001
    """Recompute the part from the saved probabilities; no model is trained.

    Raises:
        BadInput: the saved rows are not the training rows, or cleanlab is not installed.
    """
    check_cleanlab()
    train, names = context.train, context.labels
    folds, judged = _judged_classes(train, len(names))
    rows = _rows_of(train, judged)
    predictions, labels = _saved_probabilities(
        context, rows, [judged.index(train.labels[row]) for row in rows]
    )
    right = int((labels == predictions.predicted).sum())
    exact = predictions.probabilities.astype(np.float64)
    judged_names = [names[index] for index in judged]
    issues = label_issues(labels, exact, judged_names, train, rows, context.seed, MAX_SUSPECTS)
    return {
        "meaning": MEANING,
        "model": MODEL,
        "limitations": LIMITATIONS,
        "resamples": RESAMPLES,
        "train": {
            "rows": len(rows),
            "folds": folds,
            "left_out": [
                {"class": name, "rows": train.labels.count(index)}
                for index, name in enumerate(names)
                if index not in judged
            ],
            "model_accuracy": wilson_interval(right, len(rows)),
            **issues,
        },
        "split": _of_split(context),
    }


def cross_validated(texts: Sequence[str], labels: Sequence[int], folds: int, seed: int) -> np.ndarray:
    """Return the class probabilities of each text by a model trained on the other folds, float64 [N, C].

    The word weights (idf) are those of all texts; they do not depend on labels. One thread only: several would wait
    for each other, at ten times the processor time.

    Args:
        texts: N texts.
        labels: class per text, each of 0 to C - 1 at least `folds` times.
        folds: number of folds.
        seed: of the folds.
    """
    vectorizer = TfidfVectorizer(min_df=2, sublinear_tf=True)
    try:
        features = vectorizer.fit_transform(texts)
    except ValueError as error:  # no word occurs in two texts
        raise BadInput(
            Problem("the part 'noise'", "training texts that share words", str(error), "Leave it out.")
        ) from error
    targets = np.asarray(labels)
    probabilities = np.zeros((len(targets), int(targets.max()) + 1))
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, targets)
    with threadpool_limits(1):
        for known, unknown in splits:
            model = LogisticRegression(C=STRENGTH, solver="lbfgs", max_iter=MAX_ITERATIONS)
            model.fit(features[known], targets[known])
            probabilities[unknown] = model.predict_proba(features[unknown])
    return probabilities


def check_cleanlab() -> None:
    """Refuse to continue without cleanlab; raises BadInput with the command that installs it."""
    if find_spec("cleanlab") is None:
        raise BadInput(
            Problem(
                "the part 'noise'",
                "the library cleanlab",
                "no package 'cleanlab'",
                'Install it with: pip install "submillion[noise]"',
            )
        )


def _judged_classes(train: Split, classes: int) -> tuple[int, list[int]]:
    """Return the number of folds, at most five, and the classes with enough rows for each of them.

    Raises:
        BadInput: there are no two classes with two rows or more.
    """
    counts = [train.labels.count(index) for index in range(classes)]
    folds = min(FOLDS, sorted(counts)[-2])
    if folds < 2:
        raise BadInput(
            Problem(
                "the part 'noise'",
                "at least two classes with two training rows or more",
                f"{sum(count >= 2 for count in counts)}",
                "Leave it out, or train on more rows.",
            )
        )
    return folds, [index for index, count in enumerate(counts) if count >= folds]


def _rows_of(train: Split, judged: Sequence[int]) -> list[int]:
    classes = set(judged)
    return [row for row, label in enumerate(train.labels) if label in classes]


def _saved_probabilities(
    context: RunContext, rows: Sequence[int], expected: Sequence[int]
) -> tuple[Predictions, np.ndarray]:
    """Return the saved out-of-fold predictions and their labels, int64 [N].

    Raises:
        BadInput: they are not of these training rows and labels.
    """
    train = context.train
    saved = context.run.load_predictions("train", baseline=SAVED_AS)
    hashes = [hashlib.sha256(train.texts[row].encode()).hexdigest() for row in rows]
    if saved.labels is None or (saved.text_sha256, saved.labels.tolist()) != (hashes, list(expected)):
        raise BadInput(
            Problem(
                str(context.run.prediction_file("train", SAVED_AS)),
                "the training rows of the run",
                "other rows or labels",
                "Compute the part 'noise' again with `report`.",
            )
        )
    return saved, saved.labels.astype(np.int64)


def _of_split(context: RunContext) -> SplitLabelIssues | None:
    """Return the issues of the split that the report is about; None if it has fewer than two classes."""
    saved = context.predictions(context.split)
    if saved.labels is None or len(set(saved.labels.tolist())) < 2:
        return None
    split = next(part for part in context.corpus.splits if part.name == context.split)
    context.texts(context.split)  # refuses texts that are not those that were predicted
    rows = list(range(len(split)))
    labels, exact = saved.labels.astype(np.int64), saved.probabilities.astype(np.float64)
    issues = label_issues(labels, exact, context.labels, split, rows, context.seed, MAX_SPLIT_SUSPECTS)
    return {
        "split": context.split,
        "rows": len(rows),
        "mistakes": int((saved.labels != saved.predicted).sum()),
        **issues,
    }
