"""Texts in windows: features, gradients and cached states against the same windows run one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import Tokens, encode
from submillion.data.truncation import Truncation
from submillion.model import eva
from submillion.model.build import build
from submillion.model.classifier import Classifier
from submillion.model.execution import windowed
from submillion.model.execution.packed import try_packed
from submillion.model.execution.reference import Reference
from submillion.model.execution.windowed import Windowed
from submillion.model.infer import predict_features, predict_logits
from submillion.model.precision import Precision
from submillion.model.prefix import PrefixCache
from submillion.model.protocol import Execution
from support.tiny import LABELS, tiny_encoder, tiny_recipe, tiny_texts

FLOAT32 = Precision("float32", False, "test")
EXECUTIONS = ["reference", "packed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of a width that the kernels take."""
    return tiny_encoder(tmp_path_factory.mktemp("wide"), "bert", layers=3, hidden=64, dropout=0.0)


def made(folder: Path, pooling: str, **lora: Any) -> tuple[Classifier, Tokens]:
    """Return a classifier without dropout whose parameters are all random, and tokens of 9 texts of 1 to 8 windows."""
    head = {"pooling": pooling, "kind": "linear"} if pooling == "mean" else {}
    recipe = tiny_recipe(folder, lora={"layers": "top-1", "dropout": 0.0} | lora, head=head)
    classifier = build(folder, LABELS, recipe)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in classifier.parameters():
            if value.requires_grad:
                value += 0.1 * torch.randn(value.shape, generator=generator)
    texts, _ = tiny_texts(9, seed=8, min_words=2, max_words=40)
    return classifier, encode(load_tokenizer(folder), texts, Truncation(9, "all"))


def executed(classifier: Classifier, name: str) -> Execution:
    inner = try_packed(classifier, FLOAT32) if name == "packed" else Reference(classifier, FLOAT32)
    if inner is None:
        pytest.skip("the kernels were not built for this machine")
    return inner


@pytest.mark.parametrize("name", EXECUTIONS)
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_features_are_the_mean_of_those_of_the_windows(folder: Path, name: str, pooling: str) -> None:
    classifier, tokens = made(folder, pooling)
    inner = executed(classifier, name)
    assert tokens.windows and tokens.windows.counts.max() >= 4 and tokens.windows.counts.min() == 1
    alone = predict_features(inner, tokens.as_windows(), 4)
    owners = np.repeat(np.arange(len(tokens)), tokens.windows.counts)
    means = np.array([alone[owners == row].mean(axis=0) for row in range(len(tokens))])
    found = predict_features(Windowed(inner), tokens, 4)
    np.testing.assert_allclose(found, means, atol=1e-5)
    logits = predict_logits(Windowed(inner), tokens, 4)
    with torch.no_grad():
        np.testing.assert_allclose(logits, classifier.head(torch.from_numpy(means)).numpy(), atol=1e-5)
    if pooling == "mean":
        of_windows = predict_logits(inner, tokens.as_windows(), 4)
        averaged = np.array([of_windows[owners == row].mean(axis=0) for row in range(len(tokens))])
        np.testing.assert_allclose(logits, averaged, atol=1e-5)


def test_texts_of_one_window_have_the_logits_that_they_have_without_windows(folder: Path) -> None:
    classifier, tokens = made(folder, "first")
    assert tokens.windows is not None
    short = tokens.take(np.flatnonzero(tokens.windows.counts == 1))
    inner = Reference(classifier, FLOAT32)
    np.testing.assert_allclose(
        predict_logits(Windowed(inner), short, 4), predict_logits(inner, short, 4), atol=1e-6
    )


@pytest.mark.parametrize("name", EXECUTIONS)
def test_a_text_of_any_length_passes_in_parts(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, tokens = made(folder, "mean")
    execution = Windowed(executed(classifier, name))
    whole = predict_logits(execution, tokens, 4)
    monkeypatch.setattr(windowed, "PASS_TOKENS", 12)
    np.testing.assert_allclose(predict_logits(execution, tokens, 4), whole, atol=1e-5)
    prefix = PrefixCache.build(execution, tokens, 4)
    assert prefix is not None
    np.testing.assert_allclose(predict_logits(execution, tokens, 4, prefix), whole, atol=1e-5)


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_gradients_agree_between_the_executions_with_and_without_cached_states(
    folder: Path, pooling: str
) -> None:
    classifier, tokens = made(folder, pooling)
    found: list[dict[str, torch.Tensor]] = []
    for name in EXECUTIONS:
        execution = Windowed(executed(classifier, name))
        for prefix in (None, PrefixCache.build(execution, tokens, 4)):
            classifier.zero_grad()
            logits = execution.logits(tokens, np.array([4, 1, 0, 8, 1]), prefix=prefix)
            assert logits.shape == (5, len(LABELS))
            logits.square().sum().backward()
            found.append(
                {key: v.grad.clone() for key, v in classifier.named_parameters() if v.grad is not None}
            )
    assert len(found[0]) >= 3
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for key, value in found[0].items():
            torch.testing.assert_close(other[key], value, atol=1e-4, rtol=1e-3)


def test_eva_samples_windows(folder: Path) -> None:
    classifier, tokens = made(folder, "mean", variant="eva", r=2)
    eva.start(classifier, tokens, seed=1)


def test_cached_states_of_other_windows_have_another_key(folder: Path) -> None:
    from submillion.data.tokens import Windows
    from submillion.model.prefix import _Forward, _key

    classifier, tokens = made(folder, "mean")
    assert tokens.windows is not None
    other = Tokens(
        tokens.ids,
        tokens.offsets,
        tokens.full_lengths,
        Windows(tokens.windows.lengths[::-1], tokens.windows.counts[::-1]),
    )
    execution = Windowed(Reference(classifier, FLOAT32))
    keys = {_key(_Forward(execution, one, 4, False, None)) for one in (tokens, other)}
    assert len(keys) == 2
