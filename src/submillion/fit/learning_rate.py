"""The learning rate of each step: linear warm-up, then linear decay."""

from __future__ import annotations

import math


def warmup_steps(total: int, ratio: float) -> int:
    """Return the number of warm-up steps: a share of `total`, rounded up, and at most `total` - 1 if there is one."""
    return max(0, min(math.ceil(total * ratio), total - 1))


def schedule_position(
    step: int, total: int, elapsed_s: float = 0.0, max_seconds: float | None = None
) -> float:
    """Return the progress of a training in steps, by the steps done or by the time used, whichever is ahead.

    Args:
        step: steps done.
        total: planned steps.
        elapsed_s: seconds of training so far.
        max_seconds: the training's time limit; None for no limit.
    """
    return step if max_seconds is None else max(step, total * min(1.0, elapsed_s / max_seconds))


def linear_factor(position: float, total: int, warmup: int) -> float:
    """Return the factor on the peak learning rate at a position, 0 <= `position` <= `total`.

    It rises in `warmup` equal increments from 1 / (warmup + 1), is 1 at step `warmup`, and falls to
    1 / (total - warmup) at the last step. Both ends stay above 0: a step at rate 0 would waste its batch.
    """
    if position < warmup:
        return (position + 1) / (warmup + 1)
    return (total - position) / (total - warmup)
