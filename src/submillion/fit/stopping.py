"""Early stopping: which evaluation is the best so far, and when patience is exhausted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Stopping:
    """Early stopping on validation accuracy.

    The best evaluation has the highest accuracy; among equal accuracies the lowest loss, then the earliest.
    Patience counts accuracy alone: an equal accuracy at a lower loss becomes the best adapter but does not reset
    the count, because on a small validation set a plateau of equal accuracies could otherwise last forever.
    """

    patience: int
    """Consecutive evaluations without a better accuracy after which to stop; 0 never stops."""
    best_step: int | None = None
    best_epoch: float | None = None
    best_accuracy: float | None = None
    best_loss: float | None = None
    best_macro_f1: float | None = None
    without_better: int = 0
    """Consecutive evaluations, up to the last one, without a better accuracy."""

    def update(self, step: int, epoch: float, accuracy: float, loss: float, macro_f1: float) -> bool:
        """Record one evaluation; return whether it is the best so far."""
        better = self.best_accuracy is None or accuracy > self.best_accuracy
        self.without_better = 0 if better else self.without_better + 1
        best = better or (accuracy == self.best_accuracy and loss < (self.best_loss or 0.0))
        if best:
            self.best_step, self.best_epoch = step, epoch
            self.best_accuracy, self.best_loss, self.best_macro_f1 = accuracy, loss, macro_f1
        return best

    @property
    def exhausted(self) -> bool:
        """Whether patience is exhausted."""
        return 0 < self.patience <= self.without_better

    def state(self) -> dict[str, Any]:
        """Return all fields as JSON values; `Stopping(**state)` restores them."""
        return asdict(self)
