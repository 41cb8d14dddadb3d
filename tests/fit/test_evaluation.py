"""Tests of the validation scores against scikit-learn and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from submillion.fit.evaluation import gathered_scores, validation_scores
from submillion.fit.workers import Workers


@pytest.mark.parametrize(("rows", "classes", "labelled"), [(200, 4, 4), (30, 8, 3), (1, 2, 2), (50, 3, 1)])
def test_scores_agree_with_scikit_learn_and_torch(rows: int, classes: int, labelled: int) -> None:
    rng = np.random.default_rng(rows)
    logits = rng.normal(0, 3, (rows, classes)).astype(np.float32)
    labels = rng.integers(0, labelled, rows)
    scores = validation_scores(logits, labels)
    predicted = logits.argmax(1)
    peer = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert scores["accuracy"] == accuracy_score(labels, predicted)
    assert scores["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-12)
    assert scores["loss"] == pytest.approx(peer, rel=1e-5)


def test_large_logits_do_not_overflow() -> None:
    scores = validation_scores(
        np.array([[1000.0, -1000.0], [1000.0, 0.0]], dtype=np.float32), np.array([0, 1])
    )
    assert scores == {"loss": 500.0, "accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}


def test_shares_of_several_processes_are_scored_together() -> None:
    logits = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    labels = np.arange(9) % 3

    class Two(Workers):
        def gather(self, value: object) -> list[object]:
            return [value, (logits[1::2], labels[1::2])]

    together = gathered_scores(logits[::2], labels[::2], Two(torch.device("cpu"), 0, 2))
    expected = validation_scores(logits, labels)
    assert together["accuracy"] == expected["accuracy"]
    assert together["macro_f1"] == expected["macro_f1"]
    assert together["loss"] == pytest.approx(expected["loss"])
