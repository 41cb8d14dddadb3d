"""The rule by which a matrix becomes 8-bit integers; native/int8_rows.hpp has the one of the activations."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

RULE = 1
"""Version of the arithmetic of int8, activations included: a proof that was made with another one does not count."""
BLOCK = 32
GROUP_CHANNELS = 768


def channel_groups(inputs: int) -> list[slice]:
    """Return the groups of a product's input channels: equal numbers of blocks of 32, as far as possible.

    Args:
        inputs: number of input channels, a multiple of 32.
    """
    blocks, count = inputs // BLOCK, -(-inputs // GROUP_CHANNELS)
    bounds = [BLOCK * (blocks * group // count) for group in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(bounds)]


def quantize_weights(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix as integers from -127 to 127, and their scales.

    In each output and group of input channels, the largest magnitude becomes 127; rounding is half to even.

    Args:
        matrix: float32 [outputs, inputs].

    Returns:
        int8 [outputs, inputs] and float32 [groups, outputs]: the product of the two is close to the matrix.
    """
    values = torch.empty(matrix.shape, dtype=torch.int8)
    scales = []
    for group in channel_groups(matrix.shape[1]):
        part = matrix[:, group]
        peak = part.abs().amax(1)
        inverse = torch.where(peak > 0, 127 / peak, 0.0)
        values[:, group] = (part * inverse[:, None]).round().clamp(-127, 127).to(torch.int8)
        scales.append(peak / 127)
    return values, torch.stack(scales)
