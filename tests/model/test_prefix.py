"""Tests of model/prefix.py: with cached states, logits and gradients equal those of the whole model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from submillion import notices
from submillion.data.batches import collate
from submillion.model import prefix
from submillion.model.build import build
from submillion.model.classifier import Classifier
from submillion.model.execution.reference import Reference
from submillion.model.infer import predict_logits
from submillion.model.prefix import PrefixCache, _row_indices
from submillion.model.stack import supports_prefix
from support.prefixes import BFLOAT16, FLOAT32, LAYERS, made
from support.tiny import (
    FAMILY_NAMES,
    LABELS,
    shared_encoder,
    tiny_encoder,
    tiny_recipe,
    tiny_texts,
    tiny_tokens,
)


def gradients(classifier: Classifier, logits: torch.Tensor) -> dict[str, torch.Tensor]:
    classifier.zero_grad()
    logits.square().sum().backward()
    return {name: v.grad for name, v in classifier.named_parameters() if v.grad is not None}


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_logits_and_gradients_equal_the_whole_models(family: str) -> None:
    classifier, tokens = made(family)
    assert classifier.prefix_depth == 2
    cache = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4)
    assert cache is not None
    classifier.train()
    rows = np.array([11, 2, 7, 0])
    batch = collate(tokens, rows, classifier.pad_id)
    whole = classifier(batch)
    expected = gradients(classifier, whole)
    short = classifier(batch, cache.states(rows))
    from_cache = gradients(classifier, short)
    torch.testing.assert_close(short, whole, atol=1e-6, rtol=1e-5)
    assert (
        from_cache.keys()
        == expected.keys()
        == {n for n, v in classifier.named_parameters() if v.requires_grad}
    )
    for name, value in expected.items():
        torch.testing.assert_close(from_cache[name], value, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("wrong", [1, 3])
def test_a_start_at_the_wrong_layer_changes_the_logits(family: str, wrong: int) -> None:
    classifier, tokens = made(family)
    classifier.eval()
    rows = np.array([1, 5, 3])
    batch = collate(tokens, rows, classifier.pad_id)
    with torch.no_grad():
        whole = classifier(batch)
        states = classifier.states_entering(batch)
        classifier.prefix_depth = wrong
        assert not torch.allclose(classifier(batch, states), whole, atol=1e-3)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_model_is_restored_afterwards_and_after_an_error(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, tokens = made(family)
    classifier.eval()
    rows = np.array([0, 1])
    batch = collate(tokens, rows, classifier.pad_id)
    names = [name for name, _ in classifier.named_parameters()]
    with torch.no_grad():
        whole, states = classifier(batch), classifier.states_entering(batch)
        classifier(batch, states)
        with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
            broken.setattr(classifier.stack.layers[3], "forward", lambda *_, **__: 1 / 0)
            classifier(batch, states)
        torch.testing.assert_close(classifier(batch), whole, atol=0, rtol=0)
    assert [name for name, _ in classifier.named_parameters()] == names
    assert classifier.n_layers == LAYERS


def test_padding_and_order_do_not_matter() -> None:
    classifier, tokens = made("roberta")
    cache = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 5)
    assert cache is not None
    rows = np.array([4, 4, 12, 0])
    states = cache.states(rows, width=40)
    assert states.shape == (4, 40, 32)
    assert states.dtype == torch.float32
    for place, row in enumerate(rows):
        alone = classifier.eval().states_entering(collate(tokens, [row], classifier.pad_id))
        length = alone.shape[1]
        torch.testing.assert_close(states[place, :length], alone[0], atol=1e-5, rtol=1e-5)
        assert not states[place, length:].any()
    np.testing.assert_allclose(
        predict_logits(Reference(classifier, FLOAT32), tokens, 3, prefix=cache),
        predict_logits(Reference(classifier, FLOAT32), tokens, 13),
        atol=1e-5,
    )


def test_row_indices_of_an_example_worked_by_hand() -> None:
    # 3 texts of lengths 2, 0, 3 that begin at 5, 9, 0.
    assert _row_indices(np.array([5, 9, 0]), np.array([2, 0, 3])).tolist() == [5, 6, 0, 1, 2]
    assert _row_indices(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).tolist() == []


def test_the_cache_is_built_without_dropout_and_restores_the_training_mode() -> None:
    folder = shared_encoder("bert", LAYERS, dropout=0.5)
    classifier = build(folder, LABELS, tiny_recipe(folder, lora={"layers": "top-1"}))
    texts, _ = tiny_texts(6)
    tokens = tiny_tokens(folder, texts)
    classifier.train()
    first, second = (PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4) for _ in range(2))
    assert first is not None and second is not None
    torch.testing.assert_close(first.states(np.arange(6)), second.states(np.arange(6)), atol=0, rtol=0)
    assert classifier.training


def test_under_autocast_the_states_take_half_the_memory() -> None:
    classifier, tokens = made("roberta")
    full = PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4)
    half = PrefixCache.build(Reference(classifier, BFLOAT16), tokens, 4)
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
    assert (PrefixCache.build(Reference(classifier, FLOAT32), tokens, 8) is None) == (depth == 0)


def test_without_enough_memory_a_notice_says_so_and_nothing_is_cached() -> None:
    classifier, tokens = made("roberta")
    needed = int(tokens.offsets[-1]) * 32 * 4
    assert PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4, available=2 * needed) is not None
    notices.restore([])
    assert PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4, available=2 * needed - 2) is None
    (notice,) = notices.collected()
    assert notice["code"] == "prefix_cache"
    assert (
        "more than half of the 0.00 GB of free memory; the lowest 2 layers run in every step"
        in notice["text"]
    )
    assert notice["bytes"] == needed


def test_deberta_with_a_convolution_has_no_cache_and_a_notice_says_so() -> None:
    classifier, tokens = made("deberta-v2")
    assert supports_prefix(classifier.config)
    classifier.config = classifier.config | {"conv_kernel_size": 3}
    assert PrefixCache.build(Reference(classifier, FLOAT32), tokens, 4) is None
    assert "convolution around its lowest layer" in notices.collected()[-1]["text"]


@pytest.mark.parametrize("kernel_size", [0, 3])
def test_debertas_head_alone_runs_neither_layers_nor_the_convolution(
    kernel_size: int, tmp_path: Path
) -> None:
    encoder = tiny_encoder(tmp_path, "deberta-v2", conv_kernel_size=kernel_size)
    classifier = build(encoder, LABELS, tiny_recipe(encoder)).eval()
    batch = {"input_ids": torch.arange(4, 12)[None], "attention_mask": torch.ones(1, 8, dtype=torch.long)}
    with torch.no_grad():
        logits = classifier(batch)
        torch.testing.assert_close(classifier.head(classifier.features(batch)), logits)
        torch.testing.assert_close(classifier(batch), logits)  # nothing stays replaced


def test_states_of_another_batch_are_rejected() -> None:
    classifier, tokens = made("roberta")
    batch = collate(tokens, [0, 1], classifier.pad_id)
    with pytest.raises(ValueError, match="must begin with ids.shape"):
        classifier(batch, torch.zeros(2, batch["input_ids"].shape[1] + 1, 32))


@pytest.mark.parametrize("stored", [False, True])
def test_flat_states_are_the_states_without_padding(stored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, tokens = made("roberta")
    rows = np.array([4, 4, 12, 0])
    if stored:
        monkeypatch.setattr(prefix, "MIN_FILE_BYTES", 1)
    for precision, dtype in ((FLOAT32, torch.float32), (BFLOAT16, torch.bfloat16)):
        cache = PrefixCache.build(Reference(classifier, precision), tokens, 5)
        assert cache is not None
        flat, padded = cache.flat_states(rows), cache.states(rows)
        assert flat.dtype == dtype
        lengths = tokens.lengths[rows]
        pieces = [padded[place, :length] for place, length in enumerate(lengths)]
        assert torch.equal(flat.float(), torch.cat(pieces))
    assert cache.flat_states(np.array([], dtype=np.int64)).shape == (0, 32)
