"""The rivals without an encoder: the most frequent class, and linear models on TF-IDF of words or of characters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

from benchmarks.accuracy.task import Answer, Task, timed

SVM_STRENGTHS = (1.0, 0.3, 3.0, 0.1, 10.0)
"""Values of C; among equal ones the first wins."""
REGRESSION_STRENGTHS = (10.0, 100.0, 1.0, 1000.0)
FOLDS, FOLDS_OF_MANY, MANY = 5, 3, 2000
FLOOR = 1e-6  # probability of a class that a fold's training rows lack


def majority(task: Task) -> Answer:
    """Predict the most frequent class of the training rows."""
    with timed() as train:
        model = DummyClassifier().fit(task.texts, task.labels)
    with timed() as predict:
        predicted = model.predict(task.test_texts)
    return Answer(
        predicted.tolist(), train.wall, predict.wall, train.cpu, predict.cpu, parameters=len(task.classes)
    )


def words(task: Task) -> Answer:
    """Fit a linear SVM on TF-IDF of words and pairs of words."""
    return _bag(task, TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)))


def characters(task: Task) -> Answer:
    """Fit a linear SVM on TF-IDF of 2 to 5 characters inside words."""
    rare = 2 if len(task.texts) > MANY else 1  # of many texts, a sequence of one text only takes memory
    return _bag(task, TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5), min_df=rare))


def _bag(task: Task, vectorizer: Any) -> Answer:
    labels = np.array(task.labels)
    with timed() as train:
        features = vectorizer.fit_transform(task.texts)
        strength = best_strength(svm, SVM_STRENGTHS, features, labels, task.seed, _accuracy)
        model = svm(strength).fit(features, labels)
    with timed() as predict:
        predicted = model.predict(vectorizer.transform(task.test_texts))
    parameters = (features.shape[1] + 1) * len(model.coef_)
    setting = f"C={strength:g}"
    return Answer(predicted.tolist(), train.wall, predict.wall, train.cpu, predict.cpu, parameters, setting)


def svm(strength: float) -> Any:
    """Return an unfitted linear SVM."""
    return LinearSVC(C=strength, random_state=0)


def regression(strength: float) -> Any:
    """Return an unfitted logistic regression."""
    return LogisticRegression(C=strength, max_iter=1000)


def best_strength(
    make: Callable[[float], Any],
    strengths: Sequence[float],
    features: Any,
    labels: np.ndarray,
    seed: int,
    score: Callable[[Any, Any, np.ndarray], float],
) -> float:
    """Return the strength with the best cross-validated score inside the training rows.

    Args:
        make: returns an unfitted model.
        strengths: candidates; among equal ones the first wins.
        features: [N, D] of the training rows.
        labels: [N].
        seed: of the folds.
        score: of a fitted model on held-out features and labels; higher is better.
    """
    most = int(np.bincount(labels).max())
    folds = min(FOLDS if len(labels) <= MANY else FOLDS_OF_MANY, most)
    if folds < 2:
        return strengths[0]
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        splits = list(splitter.split(np.zeros(len(labels)), labels))
    means = []
    for strength in strengths:
        models = [make(strength).fit(features[fit], labels[fit]) for fit, _ in splits]
        scores = [
            score(model, features[held], labels[held])
            for model, (_, held) in zip(models, splits, strict=True)
        ]
        means.append(np.mean(scores))
    return strengths[int(np.argmax(means))]


def log_likelihood(model: Any, features: Any, labels: np.ndarray) -> float:
    """Return the mean log-probability of the right classes."""
    columns = {number: column for column, number in enumerate(model.classes_)}
    probabilities = model.predict_proba(features)
    right = [
        probabilities[row, columns[label]] if label in columns else 0.0 for row, label in enumerate(labels)
    ]
    return float(np.log(np.maximum(right, FLOOR)).mean())


def _accuracy(model: Any, features: Any, labels: np.ndarray) -> float:
    return float((model.predict(features) == labels).mean())
