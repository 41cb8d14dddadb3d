"""Early stopping: which evaluation is the best so far, and when patience is exhausted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypedDict


class Scores(TypedDict):
    """Scores on the validation rows."""

    loss: float
    """Mean cross-entropy in nats."""
    accuracy: float
    macro_f1: float


@dataclass
class Stopping:
    """Early stopping on a validation score.

    The best evaluation has the highest score; among equal scores the lowest loss, then the earliest. Patience is reset
    by a new best evaluation, and by the lowest loss so far. The score of a few validation rows has few values and may
    reach its highest one by chance; the loss then still shows whether the training makes progress. It ends at the
    latest with the planned steps, so a plateau cannot last forever.
    """

    patience: int
    """Consecutive evaluations without progress after which to stop; 0 never stops."""
    objective: Literal["accuracy", "macro_f1"] = "accuracy"
    """The score."""
    best_step: int | None = None
    best_epoch: float | None = None
    best_accuracy: float | None = None
    best_loss: float | None = None
    best_macro_f1: float | None = None
    averaged_steps: int = 0
    """Steps over which the trained values of the best evaluation are averaged; 0 if they are those of its step."""
    lowest_loss: float | None = None
    """Of all evaluations."""
    without_progress: int = 0
    """Consecutive evaluations, up to the last one, without progress."""

    def update(self, step: int, epoch: float, scores: Scores, averaged_steps: int = 0) -> bool:
        """Record one evaluation; return whether it is the best so far.

        Args:
            step: steps done.
            epoch: epochs done.
            scores: of the evaluation.
            averaged_steps: steps over which the evaluated values are averaged; 0 for those of the step.
        """
        best = self.best_scores is None or self.is_better(scores, self.best_scores)
        lowest = self.lowest_loss is None or scores["loss"] < self.lowest_loss
        if lowest:
            self.lowest_loss = scores["loss"]
        self.without_progress = 0 if best or lowest else self.without_progress + 1
        if best:
            self.best_step, self.best_epoch, self.averaged_steps = step, epoch, averaged_steps
            self.best_accuracy, self.best_loss = scores["accuracy"], scores["loss"]
            self.best_macro_f1 = scores["macro_f1"]
        return best

    def is_better(self, one: Scores, other: Scores) -> bool:
        """Return whether `one` has the higher score, or the same and a lower loss."""
        return (one[self.objective], -one["loss"]) > (other[self.objective], -other["loss"])

    @property
    def best_scores(self) -> Scores | None:
        """The scores of the best evaluation; None before the first."""
        if self.best_accuracy is None or self.best_loss is None or self.best_macro_f1 is None:
            return None
        return {"accuracy": self.best_accuracy, "loss": self.best_loss, "macro_f1": self.best_macro_f1}

    @property
    def exhausted(self) -> bool:
        """Whether patience is exhausted."""
        return 0 < self.patience <= self.without_progress

    def state(self) -> dict[str, Any]:
        """Return all fields as JSON values; `Stopping(**state)` restores them."""
        return asdict(self)


def scores_of(record: Mapping[str, Any]) -> Scores:
    """Return the scores in an evaluation's line of the history."""
    return {"loss": record["loss"], "accuracy": record["accuracy"], "macro_f1": record["macro_f1"]}
