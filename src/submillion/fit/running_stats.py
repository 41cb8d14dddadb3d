"""Running statistics: since the last history line (Window) and over the whole run (Totals)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch


class Diverged(Exception):
    """A loss or a gradient norm is no longer finite."""

    def __init__(self, step: int, quantity: str, value: float) -> None:
        super().__init__(f"step {step}: {quantity} {value}")
        self.step, self.quantity, self.value = step, quantity, value


@dataclass
class Totals:
    """Sums over a whole run, resumed parts included."""

    texts: int = 0
    tokens: int = 0
    """Tokens of those texts, special tokens included, padding excluded."""
    train_seconds: float = 0.0
    """Time in optimizer steps; evaluation and saving are excluded."""
    eval_seconds: float = 0.0
    """Time in evaluations."""
    wall_seconds: float = 0.0
    """Time in `fit`, up to when this was saved."""
    probe_seconds: float = 0.0
    """Time to fit the probe that the head starts from."""


@dataclass
class Window:
    """Statistics since the last line of the history.

    Losses and norms stay on the device until `read` fetches them, so that an accelerator does not have to wait at
    every step; `read` is the synchronisation point of the loop.
    """

    losses: list[float] = field(default_factory=list)
    """Per step, the sum of the losses of its texts."""
    norms: list[float] = field(default_factory=list)
    """Per step, the gradient norm before clipping."""
    texts: int = 0
    tokens: int = 0
    seconds: float = 0.0
    elapsed_before_s: float = 0.0
    """Seconds of training before the last step."""

    def __post_init__(self) -> None:
        self._unread: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self._clock_started_at = time.perf_counter()

    def add(self, step: int, loss: torch.Tensor, norm: torch.Tensor, texts: int, tokens: int) -> None:
        """Add one optimizer step: its summed loss and its gradient norm (both 0-dim, unread)."""
        self._unread.append((step, loss, norm))
        self.texts += texts
        self.tokens += tokens

    @property
    def unread_seconds(self) -> float:
        """Seconds of the steps that `read` has not counted yet."""
        return time.perf_counter() - self._clock_started_at if self._unread else 0.0

    def start_clock(self) -> None:
        """Count time from now on: the time since the last `read` was not training."""
        self._clock_started_at = time.perf_counter()

    def read(self, totals: Totals) -> None:
        """Fetch the outstanding figures and add the time since the clock was started.

        Raises:
            Diverged: one of them is not finite; names the first such step.
        """
        if not self._unread:
            return
        pairs = torch.stack([torch.stack([loss, norm]) for _, loss, norm in self._unread])
        figures = pairs.tolist()  # sync point
        now = time.perf_counter()
        self.seconds += now - self._clock_started_at
        totals.train_seconds += now - self._clock_started_at
        self._clock_started_at = now
        for (step, _, _), (loss, norm) in zip(self._unread, figures, strict=True):
            for quantity, value in (("loss", loss), ("gradient norm", norm)):
                if not math.isfinite(value):
                    raise Diverged(step, quantity, value)
            self.losses.append(loss)
            self.norms.append(norm)
        self._unread = []

    def record(self, step: int, epoch: float, learning_rate: float) -> dict[str, Any]:
        """Return the history's line over all steps read: mean loss over texts, mean norm over steps."""
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
        """Return the figures read so far as JSON values, for `from_state`."""
        return {
            "losses": self.losses,
            "norms": self.norms,
            "texts": self.texts,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "spent_before": self.elapsed_before_s,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Window:
        """Return the window that `state` described."""
        figures = dict(state)
        return cls(elapsed_before_s=figures.pop("spent_before"), **figures)
