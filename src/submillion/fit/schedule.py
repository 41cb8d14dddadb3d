"""The learning rate at each step: linear warm-up, then linear decay; a function of how far it is."""

from __future__ import annotations

import math


def warmup_steps(total: int, ratio: float) -> int:
    """Return how many of `total` optimizer steps climb, rounded up, and never all of them."""
    return min(math.ceil(total * ratio), total - 1)


def position(step: int, total: int, spent: float = 0.0, limit: float | None = None) -> float:
    """Return how far a training is, in steps: what is done of its steps or of its time, whichever is more.

    Args:
        step: steps done.
        total: planned steps.
        spent: seconds of training so far.
        limit: seconds that it may take; None has no limit.
    """
    return step if limit is None else max(step, total * min(1.0, spent / limit))


def linear(step: float, total: int, warmup: int) -> float:
    """Return the share of the peak learning rate at 0 <= `step` < `total`, or where a `position` before the end is.

    It climbs in `warmup` equal strides from 1 / (warmup + 1), is 1 at step `warmup`, and falls to
    1 / (total - warmup) at the last step. Both ends stay above 0: a step at rate 0 would be a batch computed
    for nothing.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (total - step) / (total - warmup)
