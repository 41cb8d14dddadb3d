"""What the steps since the last line of the history amount to, and what all steps of the run do."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch


class Diverged(Exception):
    """A loss or a gradient is not a finite number any more."""

    def __init__(self, step: int, what: str, value: float) -> None:
        super().__init__(f"step {step}: {what} {value}")
        self.step, self.what, self.value = step, what, value


@dataclass
class Totals:
    """Sums over a whole run, resumed parts included."""

    texts: int = 0
    tokens: int = 0
    """Tokens of those texts, special tokens counted, padding not."""
    train_seconds: float = 0.0
    """Time in optimizer steps; evaluation and saving are outside."""
    eval_seconds: float = 0.0
    """Time in evaluations."""
    wall_seconds: float = 0.0
    """Time in `fit`, up to when this was written."""


@dataclass
class Window:
    """Figures since the last line of the history.

    Losses and norms stay on the device until `read` asks for them, so that an accelerator is not made to
    wait at every step; `read` is the synchronisation point of the loop.
    """

    losses: list[float] = field(default_factory=list)
    """Per step, the sum of the losses of its texts."""
    norms: list[float] = field(default_factory=list)
    texts: int = 0
    tokens: int = 0
    seconds: float = 0.0
    spent_before: float = 0.0
    """Seconds of training before the last step."""

    def __post_init__(self) -> None:
        self._unread: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self._since = time.perf_counter()

    def add(self, step: int, loss: torch.Tensor, norm: torch.Tensor, texts: int, tokens: int) -> None:
        """Take in one optimizer step: its summed loss and gradient norm (both 0-dim, unread)."""
        self._unread.append((step, loss, norm))
        self.texts += texts
        self.tokens += tokens

    @property
    def running(self) -> float:
        """Seconds of steps that `read` has not counted yet."""
        return time.perf_counter() - self._since if self._unread else 0.0

    def start_clock(self) -> None:
        """Count time from here on: what lay between the last `read` and now was no training."""
        self._since = time.perf_counter()

    def read(self, totals: Totals) -> None:
        """Fetch the outstanding figures and add the time since the clock was started.

        Raises:
            Diverged: one of them is not finite; names the first step where that is so.
        """
        if not self._unread:
            return
        pairs = torch.stack([torch.stack([loss, norm]) for _, loss, norm in self._unread])
        figures = pairs.tolist()  # sync point
        now = time.perf_counter()
        self.seconds += now - self._since
        totals.train_seconds += now - self._since
        self._since = now
        for (step, _, _), (loss, norm) in zip(self._unread, figures, strict=True):
            for what, value in (("loss", loss), ("gradient norm", norm)):
                if not math.isfinite(value):
                    raise Diverged(step, what, value)
            self.losses.append(loss)
            self.norms.append(norm)
        self._unread = []

    def record(self, step: int, epoch: float, learning_rate: float) -> dict[str, Any]:
        """Return the history's line over everything read; loss is a mean over texts, norm over steps."""
        seconds = max(self.seconds, 1e-9)
        return {
            "kind": "train",
            "step": step,
            "epoch": epoch,
            "loss": math.fsum(self.losses) / self.texts,
            "learning_rate": learning_rate,
            "grad_norm": math.fsum(self.norms) / len(self.norms),
            "samples_per_s": round(self.texts / seconds, 2),
            "tokens_per_s": round(self.tokens / seconds, 1),
        }

    def state(self) -> dict[str, Any]:
        """Return the read figures as JSON values; `Window(**state)` goes on from them."""
        return asdict(self)
