"""Tests of the int8 product in torch: exact sums of integers, halves to even, groups of channels, rows of zeros."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from submillion.model.execution.int8_reference import Int8Matrix, quantize_activations
from submillion.model.execution.int8_rule import channel_groups, quantize_weights


def test_the_product_is_that_of_the_integers() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(5, 1536, generator=generator), torch.randn(7, 1536, generator=generator)
    x += 2.0  # not symmetric around 0
    expected = np.zeros((5, 7))
    for group in (slice(0, 768), slice(768, 1536)):
        values, zeros, scales = (part.numpy() for part in quantize_activations(x[:, group]))
        peaks = weight[:, group].abs().amax(dim=1, keepdim=True).numpy()
        weights, weight_scales = np.rint(weight[:, group].numpy() * (127 / peaks)), peaks / 127
        sums = values.astype(np.int64) @ weights.astype(np.int64).T
        sums -= zeros.astype(np.int64) * weights.astype(np.int64).sum(axis=1)
        expected += sums * (scales.astype(np.float64) * weight_scales.astype(np.float64).T)
    np.testing.assert_allclose(Int8Matrix(weight).product(x).numpy(), expected, rtol=1e-5, atol=1e-4)


def test_the_error_is_that_of_eight_bits() -> None:
    generator = torch.Generator().manual_seed(1)
    x, weight = torch.randn(64, 768, generator=generator), torch.randn(96, 768, generator=generator)
    exact = x @ weight.T
    error = (Int8Matrix(weight).product(x) - exact).std() / exact.std()
    assert 0.002 < error < 0.02


def test_values_use_the_whole_range_and_zero_is_exact() -> None:
    values, zero, scale = quantize_activations(torch.tensor([[-1.0, 0.0, 0.5, 2.0]]))
    assert values.tolist() == [[0, 85, 127, 255]], "127.5 is rounded to the even 42 + 85"
    assert zero.item() == 85 and scale.item() == pytest.approx(3 / 255)
    integers, _ = quantize_weights(torch.tensor([[-2.0, 1.0] + [0.0] * 30]))
    assert integers[0, :3].tolist() == [-127, 64, 0], "63.5 to the even 64"


def test_rows_of_zeros_give_zeros() -> None:
    x, weight = torch.zeros(2, 32), torch.ones(3, 32)
    assert Int8Matrix(weight).product(x).abs().max() == 0
    assert Int8Matrix(torch.zeros(3, 32)).product(torch.ones(2, 32)).abs().max() == 0


@pytest.mark.parametrize(
    ("inputs", "ends"), [(384, [384]), (768, [768]), (1024, [512, 1024]), (800, [384, 800])]
)
def test_groups_are_whole_blocks_of_at_most_768_channels(inputs: int, ends: list[int]) -> None:
    found = channel_groups(inputs)
    assert [group.stop for group in found] == ends
    assert [group.start for group in found] == [0, *ends[:-1]]
