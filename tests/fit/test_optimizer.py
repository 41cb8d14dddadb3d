"""Tests of the flat AdamW against torch's own, tensor by tensor."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from submillion.errors import SubmillionError
from submillion.fit.optimizer import ALIGNMENT, FlatAdamW


def made_module() -> nn.Module:
    """Return matrices, biases and a norm of odd sizes, with a frozen matrix between them."""
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(7, 5), nn.LayerNorm(5), nn.Linear(5, 9), nn.Linear(9, 3, bias=False))
    module[2].weight.requires_grad_(False)
    return module


def loss_of(module: nn.Module, step: int) -> torch.Tensor:
    inputs = torch.randn(4, 7, generator=torch.Generator().manual_seed(step))
    return module(inputs).square().sum()


def test_agrees_with_adamw_and_clip_grad_norm() -> None:
    module = made_module()
    peer = deepcopy(module)
    flat = FlatAdamW(module, weight_decay=0.1, max_grad_norm=0.5)
    matrices = [value for value in peer.parameters() if value.requires_grad and value.ndim >= 2]
    vectors = [value for value in peer.parameters() if value.requires_grad and value.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=0.02, foreach=False)
    for step in range(20):
        flat.zero_gradients()
        loss_of(module, step).backward()
        norm = flat.step(0.02)
        adamw.zero_grad()
        loss_of(peer, step).backward()
        expected = nn.utils.clip_grad_norm_([*matrices, *vectors], 0.5)
        adamw.step()
        torch.testing.assert_close(norm, expected)
    for value, other in zip(module.parameters(), peer.parameters(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-5, atol=1e-6)


def test_weight_decay_applies_to_matrices_only() -> None:
    module = made_module()
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    flat = FlatAdamW(module, weight_decay=0.5, max_grad_norm=1.0)
    flat.step(0.1)  # all gradients are 0, so only weight decay moves values
    moved = {name for name, value in module.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {"0.weight", "3.weight"}
    torch.testing.assert_close(module[0].weight, before["0.weight"] * (1 - 0.1 * 0.5))


def test_parameters_keep_their_values_and_share_the_buffer() -> None:
    module = made_module()
    before = [value.detach().clone() for value in module.parameters()]
    flat = FlatAdamW(module, 0.0, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    flat.values.zero_()
    assert all(value.count_nonzero() == 0 for value in module.parameters() if value.requires_grad)
    assert module[2].weight.count_nonzero() > 0
    starts = [
        value.data_ptr() - flat.values.data_ptr() for value in module.parameters() if value.requires_grad
    ]
    assert all(start % (4 * ALIGNMENT) == 0 for start in starts)


def test_restored_state_continues_bit_for_bit() -> None:
    module, other = made_module(), made_module()
    flat, resumed = FlatAdamW(module, 0.1, 1.0), FlatAdamW(other, 0.1, 1.0)
    for step in range(6):
        if step == 3:
            resumed.load({name: tensor.clone() for name, tensor in flat.state().items()})
        for optimizer, trained in ((flat, module), (resumed, other)):
            if trained is other and step < 3:
                continue
            optimizer.zero_gradients()
            loss_of(trained, step).backward()
            optimizer.step(0.01)
    assert torch.equal(flat.values, resumed.values)
    states = flat.state(), resumed.state()
    assert states[0].keys() == states[1].keys() >= {"values", "adamw.0.exp_avg", "adamw.1.exp_avg_sq"}
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_release_removes_the_gradients() -> None:
    module = made_module()
    flat = FlatAdamW(module, 0.0, 1.0)
    loss_of(module, 0).backward()
    assert flat.gradients.count_nonzero() > 0
    flat.release()
    assert all(value.grad is None for value in module.parameters())


def test_parameters_of_other_types_are_refused_by_name() -> None:
    module = made_module()
    module[3].to(torch.bfloat16)
    with pytest.raises(
        SubmillionError, match=r"trainable parameters in float32, found other types in 3\.weight"
    ):
        FlatAdamW(module, 0.0, 1.0)
    with pytest.raises(SubmillionError, match="found none"):
        FlatAdamW(module.requires_grad_(False), 0.0, 1.0)


class Adapted(nn.Module):
    """Adapter matrices A and B and a head, named as in peft."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head = nn.Linear(5, 3)
        self.query = nn.ModuleDict(
            {"lora_A": nn.Linear(7, 2, bias=False), "lora_B": nn.Linear(2, 5, bias=False)}
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.query["lora_B"](self.query["lora_A"](inputs)))


def test_lora_plus_is_adamw_with_another_learning_rate_for_b() -> None:
    module = Adapted()
    peer = deepcopy(module)
    flat = FlatAdamW(module, weight_decay=0.1, max_grad_norm=100.0, b_ratio=16.0)
    order = ["query.lora_B.weight", "head.weight", "query.lora_A.weight", "head.bias"]
    assert [name for name, _ in flat.layout] == order
    groups = [
        {"params": [peer.query["lora_B"].weight], "lr": 0.16},
        {"params": [peer.query["lora_A"].weight, peer.head.weight]},
        {"params": [peer.head.bias], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1, foreach=False)
    for step in range(10):
        flat.zero_gradients()
        loss_of(module, step).backward()
        flat.step(0.01)
        adamw.zero_grad()
        loss_of(peer, step).backward()
        adamw.step()
    for value, other in zip(module.parameters(), peer.parameters(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-5)


def test_without_lora_plus_matrices_keep_their_order() -> None:
    names = [name for name, _ in FlatAdamW(Adapted(), 0.1, 1.0).layout]
    assert names == ["head.weight", "query.lora_A.weight", "query.lora_B.weight", "head.bias"]
