"""Tests of model/infer.py: input order, dropout off and restored, rows with non-finite logits named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from submillion.data.tokens import Tokens
from submillion.errors import SubmillionError
from submillion.model.build import build
from submillion.model.execution.reference import Reference
from submillion.model.infer import predict_logits, predict_probabilities
from submillion.model.precision import Precision
from support.tiny import LABELS, shared_encoder, tiny_recipe, tiny_texts, tiny_tokens

FLOAT32 = Precision("float32", False, "test")


@pytest.fixture
def reference() -> Reference:
    folder = shared_encoder("roberta", dropout=0.5)
    return Reference(build(folder, LABELS, tiny_recipe(folder)), FLOAT32)


@pytest.fixture
def tokens() -> Tokens:
    texts, _ = tiny_texts(23, seed=3, max_words=20)
    return tiny_tokens(shared_encoder("roberta", dropout=0.5), texts)


def test_rows_are_in_input_order_for_every_batch_size(reference: Reference, tokens: Tokens) -> None:
    singly = predict_logits(reference, tokens, 1)
    assert singly.shape == (23, 4)
    assert singly.dtype == np.float32
    np.testing.assert_allclose(predict_logits(reference, tokens, 5), singly, atol=1e-5)
    # All rows differ, so an exchanged pair would show.
    assert len(np.unique(singly.round(4), axis=0)) == 23


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_and_the_training_mode_is_restored(
    training: bool, reference: Reference, tokens: Tokens
) -> None:
    reference.classifier.train(training)
    first = predict_logits(reference, tokens, 8)
    np.testing.assert_array_equal(first, predict_logits(reference, tokens, 8))
    assert {module.training for module in reference.classifier.modules()} == {training}


def test_no_gradients_are_stored(reference: Reference, tokens: Tokens) -> None:
    predict_logits(reference, tokens, 8)
    assert all(value.grad is None for value in reference.classifier.parameters())


def test_probabilities_are_the_softmax(reference: Reference, tokens: Tokens) -> None:
    logits = predict_logits(reference, tokens, 8)
    expected = torch.from_numpy(logits).double().softmax(1).float().numpy()
    probabilities = predict_probabilities(reference, tokens, 8)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, rtol=1e-6)


def test_progress_counts_rows(reference: Reference, tokens: Tokens) -> None:
    advances: list[int] = []
    predict_logits(reference, tokens, 10, progress=advances.append)
    assert advances == [10, 10, 3]


def test_no_texts_give_no_rows(reference: Reference, tokens: Tokens) -> None:
    assert predict_logits(reference, tokens.take([]), 8).shape == (0, 4)
    assert predict_probabilities(reference, tokens.take([]), 8).shape == (0, 4)


def test_the_error_names_rows_without_finite_logits(reference: Reference, tokens: Tokens) -> None:
    words = reference.classifier.module.get_base_model().get_input_embeddings()
    marked = int(tokens[7][1])
    affected = [row for row in range(23) if marked in tokens[row]]
    assert 0 < len(affected) < 10
    with torch.no_grad():
        words.weight[marked] = float("nan")
    with pytest.raises(SubmillionError) as caught:
        predict_logits(reference, tokens, 8)
    assert str(caught.value).startswith(
        f"{len(affected)} of 23 rows have logits that are not finite numbers "
        f"(rows {', '.join(map(str, affected))}; the first is row 0)."
    )
