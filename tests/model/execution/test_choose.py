"""Tests of the choice of an execution and of transfers to an accelerator; no accelerator is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from submillion import environment, notices
from submillion.errors import BadInput
from submillion.families.families import FAMILIES
from submillion.model import eva
from submillion.model.build import build
from submillion.model.classifier import Classifier
from submillion.model.execution.choose import choose_execution
from submillion.model.execution.reference import Reference
from submillion.model.precision import choose_precision, training_device
from submillion.model.prefix import PrefixCache
from submillion.model.transfer import to_device
from support.fit_stub import FLOAT32
from support.tiny import LABELS, shared_encoder, tiny_recipe, tiny_texts, tiny_tokens

# Tensors with shapes and types but without values: code that waits for a value fails.
META = torch.device("meta")


def made(family: str = "roberta", **lora: Any) -> Classifier:
    encoder = shared_encoder(family, 2, 0.0)
    return build(encoder, LABELS, tiny_recipe(encoder, lora={"dropout": 0.0} | lora))


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make classifiers report that they are on a GPU; nothing runs there."""
    monkeypatch.setattr(Classifier, "device", torch.device("cuda"))


def test_packed_on_a_gpu_means_packed_tokens_through_transformers(on_cuda: None) -> None:
    assert choose_execution(made(), FLOAT32, "packed").name == "packed-sdpa"
    assert notices.collected()[-1]["execution"] == "packed-sdpa"
    with pytest.raises(BadInput, match=r"train\.execution.*mpnet"):
        choose_execution(made("mpnet"), FLOAT32, "packed")


def test_auto_on_a_gpu_is_the_reference_and_a_notice_gives_the_reason(on_cuda: None) -> None:
    assert choose_execution(made(), FLOAT32, "auto").name == "reference"
    assert "the model is on cuda" in notices.collected()[-1]["text"]


def test_compile_and_packed_do_not_go_together() -> None:
    with pytest.raises(BadInput, match=r"train\.compile"):
        choose_execution(made(), FLOAT32, "packed", compiled=True)
    with pytest.raises(ValueError, match="compile=false with execution=packed"):
        tiny_recipe(shared_encoder(), train={"compile": True, "execution": "packed"})


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.attention_interface])
def test_a_prepared_mask_gives_the_same_logits(family: str) -> None:
    classifier = made(family).eval()
    tokens = tiny_tokens(shared_encoder(family, 2, 0.0), tiny_texts(12, 1)[0])
    rows = np.array([3, 1, 7, 2])
    equal = np.flatnonzero(tokens.lengths == tokens.lengths[0])[:2]
    for chosen in (rows, equal):
        with torch.no_grad():
            expected = Reference(classifier, FLOAT32).logits(tokens, chosen)
            ready = Reference(classifier, FLOAT32, compiled=True).logits(tokens, chosen)
        torch.testing.assert_close(ready, expected, atol=1e-6, rtol=1e-5)


def test_an_accelerator_receives_no_mask_or_a_prepared_one() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    reference = Reference(made(), FLOAT32)
    assert reference._mask(mask[:1], META) == {}
    ready = reference._mask(mask, META)["attention_mask"]
    assert (ready.shape, ready.dtype, ready.device) == ((2, 1, 3, 3), torch.bool, META)
    assert torch.equal(reference._mask(mask, torch.device("cpu"))["attention_mask"], mask)
    # A family without AttentionInterface receives the mask [B, S], from which transformers makes its own.
    assert Reference(made("mpnet"), FLOAT32)._mask(mask, META)["attention_mask"].shape == (2, 3)


def test_cached_states_are_padded_on_the_target_device() -> None:
    flat = torch.arange(10, dtype=torch.bfloat16).reshape(5, 2)
    cache = PrefixCache(flat, np.array([0, 2, 5]))
    there = cache.states(np.array([1, 0]), 4, META)
    assert (there.shape, there.dtype, there.device) == ((2, 4, 2), torch.float32, META)
    assert cache.states(np.array([1, 0]), 4).tolist() == [
        [[4, 5], [6, 7], [8, 9], [0, 0]],
        [[0, 1], [2, 3], [0, 0], [0, 0]],
    ]


def test_only_copies_to_cuda_use_page_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    value, asked = torch.ones(2), []

    def pin_memory(self: torch.Tensor) -> torch.Tensor:
        asked.append("pinned")
        return self

    def to(self: torch.Tensor, device: torch.device, non_blocking: bool = False) -> torch.Tensor:
        asked.append((device.type, non_blocking))
        return self

    assert to_device(value, torch.device("cpu")) is value
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.Tensor, "to", to)
    to_device(value, torch.device("cuda"))
    to_device(value, torch.device("mps"))
    assert asked == ["pinned", ("cuda", True), ("mps", False)]


def test_accelerate_launch_cpu_overrides_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda *_: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_: torch.device("cuda"))
    assert training_device() == "cuda"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert training_device() == "cpu"


def test_requested_kernels_have_no_effect_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBMILLION_NATIVE", "avx2")
    assert choose_precision("auto", features={"bf16"}, device_type="cuda").dtype_name == "bfloat16"
    assert choose_precision("auto", features={"bf16"}, device_type="cpu").dtype_name == "float32"


def test_peak_memory_of_an_accelerator_is_reported_if_torch_counts_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert environment.peak_accelerator_mb(torch.device("cpu")) is None
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3_500_000)
    assert environment.peak_accelerator_mb(torch.device("cuda", 0)) == 3.5
    assert environment.peak_accelerator_mb(torch.device("mps")) is None


def test_eva_decomposes_on_the_cpu_for_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    whole = torch.svd_lowrank

    def svd_lowrank(states: torch.Tensor, **options: Any) -> Any:
        seen.append(states.device.type)
        return whole(states, **options)

    monkeypatch.setattr(torch, "svd_lowrank", svd_lowrank)
    encoder = shared_encoder("roberta", 2, 0.0)
    eva.start(made(variant="eva"), tiny_tokens(encoder, tiny_texts(12, 1)[0]), 0)
    assert set(seen) == {"cpu"}
