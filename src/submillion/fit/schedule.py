"""The learning rate at each step: linear warm-up, then linear decay; a function of the step alone."""

from __future__ import annotations

import math


def warmup_steps(total: int, ratio: float) -> int:
    """Return how many of `total` optimizer steps climb, rounded up, and never all of them."""
    return min(math.ceil(total * ratio), total - 1)


def linear(step: int, total: int, warmup: int) -> float:
    """Return the share of the peak learning rate that step 0 <= `step` < `total` takes.

    It climbs in `warmup` equal strides from 1 / (warmup + 1), is 1 at step `warmup`, and falls to
    1 / (total - warmup) at the last step. Both ends stay above 0: a step at rate 0 would be a batch computed
    for nothing.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (total - step) / (total - warmup)
