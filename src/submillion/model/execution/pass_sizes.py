"""How many tokens the kernels run at a time, for speed and for memory."""

from __future__ import annotations

PASS_TOKENS = 8192
"""Token limit of an inference pass. Larger passes are no faster, and Ctrl-C is only checked between passes."""
GROUP_CHANNELS = 640 * 768
"""Upper bound on token rows per group, times channels. Larger groups reuse each weight more often; beyond this,
activations no longer fit in L2."""
STEP_BYTES = 1792 * 12 * 768 * 2
"""Bytes of the states that enter the trained layers, for all tokens of a forward and backward pass: 1,792 tokens of all
layers of roberta-base in bfloat16, 896 in float32. The values saved for the backward pass take some nine times as much.
A pass of MAX_STEP_TOKENS is as fast as any."""
MAX_STEP_TOKENS = 4096


def group_rows(hidden: int) -> int:
    """Return the token rows of a group, for an encoder of hidden size `hidden`."""
    return max(128, GROUP_CHANNELS // hidden)


def step_tokens(layers: int, hidden: int, value_bytes: int) -> int:
    """Return the most tokens of a forward and backward pass.

    Args:
        layers: the trained ones, from the lowest adapter up.
        hidden: hidden size of the encoder.
        value_bytes: 2 in bfloat16, 4 in float32.
    """
    return min(MAX_STEP_TOKENS, STEP_BYTES // (max(layers, 1) * hidden * value_bytes))
