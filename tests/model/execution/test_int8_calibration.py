"""Tests of the measured errors of int8: small for usual matrices, and large for the one whose input has an outlier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from submillion.data.tokens import Tokens, encode
from submillion.model.execution.int8_calibration import LARGEST_ERROR, product_errors
from submillion.model.infer import predict_logits
from submillion.model.trained import OpenedRun, open_run_classifier
from support.int8 import SimulatedInt8, amplified
from support.tiny import tiny_texts
from support.tiny_run import tiny_run


@pytest.fixture
def opened(tmp_path: Path) -> OpenedRun:
    return open_run_classifier(tiny_run(tmp_path)[0], merged=False)


@pytest.fixture
def tokens(opened: OpenedRun) -> Tokens:
    return encode(opened.tokenizer, tiny_texts(40, 3)[0], opened.truncation)


def test_every_matrix_is_measured(opened: OpenedRun, tokens: Tokens) -> None:
    errors = product_errors(opened.classifier, tokens)
    targets = opened.classifier.family.suffixes
    assert list(errors) == [(layer, target) for layer in range(2) for target in targets]
    assert all(1e-4 < error < LARGEST_ERROR for error in errors.values()), errors


def test_an_outlier_in_the_input_of_a_matrix_is_seen_in_its_error_alone(
    opened: OpenedRun, tokens: Tokens
) -> None:
    before = product_errors(opened.classifier, tokens)
    amplified(opened.classifier, 3000.0)
    after = product_errors(opened.classifier, tokens)
    outlier = (0, "attention_output")
    assert after[outlier] > LARGEST_ERROR > before[outlier]
    others = [name for name in before if name != outlier]
    np.testing.assert_allclose([after[name] for name in others], [before[name] for name in others], rtol=0.3)


def test_logits_are_close_again_once_that_matrix_stays_in_float(opened: OpenedRun, tokens: Tokens) -> None:
    exact = predict_logits(opened.execution, tokens, 8)
    amplified(opened.classifier, 3000.0)
    distances = {
        floats: np.abs(predict_logits(SimulatedInt8(opened.classifier, floats), tokens, 8) - exact).max()
        for floats in (frozenset(), frozenset({(0, "attention_output")}))
    }
    of_all, of_others = distances.values()
    assert of_others < 0.2 * of_all, distances
