"""Tests of model/infer.py: input order, dropout off and back on, non-finite numbers named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from submillion.data.tokens import Tokens
from submillion.errors import SubmillionError
from submillion.model.classifier import Classifier, build
from submillion.model.infer import predict_logits, predict_probabilities
from submillion.model.precision import Precision
from support.tiny import LABELS, shared_encoder, tiny_recipe, tiny_texts, tiny_tokens

FLOAT32 = Precision("float32", False, "test")


@pytest.fixture
def classifier() -> Classifier:
    folder = shared_encoder("roberta", dropout=0.5)
    return build(folder, LABELS, tiny_recipe(folder))


@pytest.fixture
def tokens() -> Tokens:
    texts, _ = tiny_texts(23, seed=3, max_words=20)
    return tiny_tokens(shared_encoder("roberta", dropout=0.5), texts)


def test_rows_come_in_input_order_whatever_the_batches(classifier: Classifier, tokens: Tokens) -> None:
    singly = predict_logits(classifier, tokens, 1, FLOAT32)
    assert singly.shape == (23, 4)
    assert singly.dtype == np.float32
    np.testing.assert_allclose(predict_logits(classifier, tokens, 5, FLOAT32), singly, atol=1e-5)
    # All rows differ, so that an exchanged pair would show.
    assert len(np.unique(singly.round(4), axis=0)) == 23


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_inside_and_the_mode_is_put_back(
    training: bool, classifier: Classifier, tokens: Tokens
) -> None:
    classifier.train(training)
    first = predict_logits(classifier, tokens, 8, FLOAT32)
    np.testing.assert_array_equal(first, predict_logits(classifier, tokens, 8, FLOAT32))
    assert {module.training for module in classifier.modules()} == {training}


def test_no_gradients_are_kept(classifier: Classifier, tokens: Tokens) -> None:
    predict_logits(classifier, tokens, 8, FLOAT32)
    assert all(value.grad is None for value in classifier.parameters())


def test_probabilities_are_the_softmax(classifier: Classifier, tokens: Tokens) -> None:
    logits = predict_logits(classifier, tokens, 8, FLOAT32)
    expected = torch.from_numpy(logits).double().softmax(1).float().numpy()
    found = predict_probabilities(classifier, tokens, 8, FLOAT32)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_progress_is_told_in_rows(classifier: Classifier, tokens: Tokens) -> None:
    told: list[int] = []
    predict_logits(classifier, tokens, 10, FLOAT32, progress=told.append)
    assert told == [10, 10, 3]


def test_no_texts_no_rows(classifier: Classifier, tokens: Tokens) -> None:
    assert predict_logits(classifier, tokens.take([]), 8, FLOAT32).shape == (0, 4)
    assert predict_probabilities(classifier, tokens.take([]), 8, FLOAT32).shape == (0, 4)


def test_rows_without_finite_logits_are_named(classifier: Classifier, tokens: Tokens) -> None:
    words = classifier.module.get_base_model().get_input_embeddings()
    marked = int(tokens[7][1])
    affected = [row for row in range(23) if marked in tokens[row]]
    assert 0 < len(affected) < 10
    with torch.no_grad():
        words.weight[marked] = float("nan")
    with pytest.raises(SubmillionError) as caught:
        predict_logits(classifier, tokens, 8, FLOAT32)
    assert str(caught.value).startswith(
        f"{len(affected)} of 23 rows have logits that are not finite numbers "
        f"(rows {', '.join(map(str, affected))}; the first is row 0)."
    )
