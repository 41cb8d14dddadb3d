"""The int8 product of a linear layer in torch, with exact sums: the arithmetic that the int8 kernels have."""

from __future__ import annotations

import torch
from torch import Tensor

from submillion.model.execution.int8_rule import channel_groups, quantize_weights

LARGEST = 255
"""Largest value of an activation, which counts from the minimum of its row."""


def quantize_activations(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return integers from 0 to 255, the integer of 0, and a scale per row: `(integers - zero) * scale` is close to x.

    Halves are rounded to even, as processors do.

    Args:
        x: float32 [tokens, inputs].

    Returns:
        [tokens, inputs], [tokens, 1] and [tokens, 1], all float32; the scale of a row of zeros is 0.
    """
    low, high = x.amin(dim=1, keepdim=True).clamp(max=0), x.amax(dim=1, keepdim=True).clamp(min=0)
    span = high - low
    inverse = torch.where(span > 0, LARGEST / span, 0.0)
    zero = (-low * inverse).round()
    return ((x * inverse).round() + zero).clamp(0, LARGEST), zero, span / LARGEST


class Int8Matrix:
    """A weight matrix that is quantized once."""

    def __init__(self, weight: Tensor) -> None:
        """Quantize.

        Args:
            weight: float32 [outputs, inputs].
        """
        self._groups = channel_groups(weight.shape[1])
        self._integers, self._scales = quantize_weights(weight)

    def product(self, x: Tensor) -> Tensor:
        """Return x W^T with both operands quantized and exact sums of their products, float32 [tokens, outputs].

        Args:
            x: activations, float32 [tokens, inputs].
        """
        y = torch.zeros(len(x), len(self._integers))
        for group, scales in zip(self._groups, self._scales, strict=True):
            values, zeros, of_rows = quantize_activations(x[:, group])
            # A sum of 768 products of 255 * 127 is an integer that float64 holds exactly, and float32 does not.
            sums = (values - zeros).double() @ self._integers[:, group].double().T
            y += sums.float() * (of_rows * scales)
        return y
