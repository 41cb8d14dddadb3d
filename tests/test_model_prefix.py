"""Tests of model/prefix.py: with cached states, logits and gradients are those of the whole model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from submillion import notices
from submillion.data.batches import collate
from submillion.data.tokens import Tokens
from submillion.model.classifier import Classifier, build
from submillion.model.infer import predict_logits
from submillion.model.precision import Precision
from submillion.model.prefix import PrefixCache, _places, states_entering, supports_prefix
from tiny import FAMILY_NAMES, LABELS, shared_encoder, tiny_recipe, tiny_texts, tiny_tokens

FLOAT32 = Precision("float32", False, "test")
BFLOAT16 = Precision("bfloat16", True, "test")
LAYERS = 4


def made(family: str, layers: object = "top-2", **sections: object) -> tuple[Classifier, Tokens]:
    """Return a classifier without dropout whose adapters all do something, and tokens of 13 texts."""
    folder = shared_encoder(family, LAYERS, dropout=0.0)
    lora = {"layers": layers, "dropout": 0.0} | sections.pop("lora", {})  # type: ignore[operator]
    classifier = build(folder, LABELS, tiny_recipe(folder, lora=lora, **sections))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(5)
        for value in classifier.parameters():
            if value.requires_grad:
                value += 0.1 * torch.randn(value.shape, generator=generator)
    texts, _ = tiny_texts(13, seed=8, max_words=24)
    return classifier, tiny_tokens(folder, texts)


def gradients(classifier: Classifier, logits: torch.Tensor) -> dict[str, torch.Tensor]:
    classifier.zero_grad()
    logits.square().sum().backward()
    return {name: v.grad for name, v in classifier.named_parameters() if v.grad is not None}


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_logits_and_gradients_equal_the_whole_models(family: str) -> None:
    classifier, tokens = made(family)
    assert classifier.prefix_depth == 2
    cache = PrefixCache.build(classifier, tokens, 4, FLOAT32)
    assert cache is not None
    classifier.train()
    rows = np.array([11, 2, 7, 0])
    batch = collate(tokens, rows, classifier.pad_id)
    whole = classifier(batch)
    expected = gradients(classifier, whole)
    short = classifier(batch, cache.states(rows))
    found = gradients(classifier, short)
    torch.testing.assert_close(short, whole, atol=1e-6, rtol=1e-5)
    assert found.keys() == expected.keys() == {n for n, v in classifier.named_parameters() if v.requires_grad}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("wrong", [1, 3])
def test_a_start_one_layer_off_would_show(family: str, wrong: int) -> None:
    classifier, tokens = made(family)
    classifier.eval()
    rows = np.array([1, 5, 3])
    batch = collate(tokens, rows, classifier.pad_id)
    with torch.no_grad():
        whole = classifier(batch)
        states = states_entering(classifier, batch)
        classifier.prefix_depth = wrong
        assert not torch.allclose(classifier(batch, states), whole, atol=1e-3)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_model_is_whole_again_afterwards_also_after_an_error(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, tokens = made(family)
    classifier.eval()
    rows = np.array([0, 1])
    batch = collate(tokens, rows, classifier.pad_id)
    names = [name for name, _ in classifier.named_parameters()]
    with torch.no_grad():
        whole, states = classifier(batch), states_entering(classifier, batch)
        classifier(batch, states)
        with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
            broken.setattr(classifier.stack.layers[3], "forward", lambda *_, **__: 1 / 0)
            classifier(batch, states)
        torch.testing.assert_close(classifier(batch), whole, atol=0, rtol=0)
    assert [name for name, _ in classifier.named_parameters()] == names
    assert classifier.n_layers == LAYERS


def test_padding_and_order_do_not_matter() -> None:
    classifier, tokens = made("roberta")
    cache = PrefixCache.build(classifier, tokens, 5, FLOAT32)
    assert cache is not None
    rows = np.array([4, 4, 12, 0])
    states = cache.states(rows, width=40)
    assert states.shape == (4, 40, 32)
    assert states.dtype == torch.float32
    for place, row in enumerate(rows):
        alone = states_entering(classifier.eval(), collate(tokens, [row], classifier.pad_id))
        length = alone.shape[1]
        torch.testing.assert_close(states[place, :length], alone[0], atol=1e-5, rtol=1e-5)
        assert not states[place, length:].any()
    np.testing.assert_allclose(
        predict_logits(classifier, tokens, 3, FLOAT32, prefix=cache),
        predict_logits(classifier, tokens, 13, FLOAT32),
        atol=1e-5,
    )


def test_places_of_a_hand_worked_case() -> None:
    # 3 texts of lengths 2, 0, 3 that begin at 5, 9, 0.
    assert _places(np.array([5, 9, 0]), np.array([2, 0, 3])).tolist() == [5, 6, 0, 1, 2]
    assert _places(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).tolist() == []


def test_the_cache_holds_no_dropout_and_leaves_the_mode() -> None:
    folder = shared_encoder("bert", LAYERS, dropout=0.5)
    classifier = build(folder, LABELS, tiny_recipe(folder, lora={"layers": "top-1"}))
    texts, _ = tiny_texts(6)
    tokens = tiny_tokens(folder, texts)
    classifier.train()
    first, second = (PrefixCache.build(classifier, tokens, 4, FLOAT32) for _ in range(2))
    assert first is not None and second is not None
    torch.testing.assert_close(first.states(np.arange(6)), second.states(np.arange(6)), atol=0, rtol=0)
    assert classifier.training


def test_under_autocast_the_states_take_half_the_memory() -> None:
    classifier, tokens = made("roberta")
    full = PrefixCache.build(classifier, tokens, 4, FLOAT32)
    half = PrefixCache.build(classifier, tokens, 4, BFLOAT16)
    assert full is not None and half is not None
    assert full.nbytes == 2 * half.nbytes == tokens.offsets[-1] * 32 * 4
    rows = np.array([3, 9])
    assert half.states(rows).dtype == torch.float32
    torch.testing.assert_close(half.states(rows), full.states(rows), atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("family", "layers", "sections", "depth"),
    [
        ("roberta", "all", {}, 0),
        ("roberta", "top-1", {}, 3),
        ("roberta", [1, 3], {}, 1),
        ("roberta", "top-1", {"lora": {"bias": "lora_only"}}, 3),
        ("roberta", "top-1", {"lora": {"bias": "all"}}, 0),
        ("modernbert", "top-1", {"lora": {"bias": "all"}}, 3),
        ("distilbert", "top-2", {"head": {"kind": "linear"}}, 2),
    ],
)
def test_depth_is_the_lowest_layer_with_something_to_train(
    family: str, layers: object, sections: dict[str, object], depth: int
) -> None:
    classifier, tokens = made(family, layers, **sections)
    assert classifier.prefix_depth == depth
    assert (PrefixCache.build(classifier, tokens, 8, FLOAT32) is None) == (depth == 0)


def test_too_little_memory_is_said_and_nothing_is_cached() -> None:
    classifier, tokens = made("roberta")
    needed = int(tokens.offsets[-1]) * 32 * 4
    assert PrefixCache.build(classifier, tokens, 4, FLOAT32, available=2 * needed) is not None
    notices.clear()
    assert PrefixCache.build(classifier, tokens, 4, FLOAT32, available=2 * needed - 2) is None
    (notice,) = notices.taken()
    assert notice["code"] == "prefix_cache"
    assert (
        "more than half of the 0.00 GB that are free; the lowest 2 layers run in every step" in notice["text"]
    )
    assert notice["bytes"] == needed


def test_deberta_with_a_convolution_runs_whole_and_says_so() -> None:
    classifier, tokens = made("deberta-v2")
    assert supports_prefix(classifier.config)
    classifier.config = classifier.config | {"conv_kernel_size": 3}
    assert PrefixCache.build(classifier, tokens, 4, FLOAT32) is None
    assert "convolution around its lowest layer" in notices.taken()[-1]["text"]


def test_states_of_another_batch_are_refused() -> None:
    classifier, tokens = made("roberta")
    batch = collate(tokens, [0, 1], classifier.pad_id)
    with pytest.raises(ValueError, match="must begin with ids.shape"):
        classifier(batch, torch.zeros(2, batch["input_ids"].shape[1] + 1, 32))
