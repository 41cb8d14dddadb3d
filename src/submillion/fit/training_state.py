"""The state of a training between two steps: counters, statistics and the best adapter, saved and restored."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from submillion.errors import BadInput, Problem
from submillion.fit import checkpoint
from submillion.fit.identity import CLASSIFIER, DEFAULTS
from submillion.fit.running_stats import Totals, Window
from submillion.fit.step import Stepper
from submillion.fit.stopping import Stopping
from submillion.fit.workers import Workers
from submillion.run_format.manifest import HeadStartEntry
from submillion.rundir import RunDir


@dataclass
class TrainingState:
    """All that the loop knows after `step` optimizer steps, except what the stepper holds."""

    identity: dict[str, Any]
    """See `training_identity`."""
    stopping: Stopping
    window: Window = field(default_factory=Window)
    totals: Totals = field(default_factory=Totals)
    step: int = 0
    evaluated_step: int = 0
    """Step of the last evaluation; -1 if the values before step 1 are to be evaluated and have not been."""
    contrastive_step: int = 0
    """Steps of the contrastive stage that are done."""
    contrastive_totals: Totals = field(default_factory=Totals)
    contrastive_loss: float | None = None
    """Mean loss in the last line of the history of that stage."""
    head_start: HeadStartEntry | None = None
    """Facts of the probe that the head started from; None before it did, or if it starts at random."""
    first_values: torch.Tensor | None = None
    """Trained values before the first step, as in the optimizer's buffer; None unless they are needed at the end."""
    history_lines: int = 0
    best_values: torch.Tensor | None = None
    """Trained values of the best evaluation, as in the optimizer's buffer."""
    best_logits: np.ndarray | None = None
    """Validation logits of the best evaluation, float32 [N, C]; None with several processes."""

    def save(self, run: RunDir, stepper: Stepper, wall_seconds: float) -> None:
        """Write `checkpoint/latest`: this state and the stepper's.

        Raises:
            SubmillionError: it could not be written; the previous one is intact.
        """
        tensors = stepper.state()
        for name, values in (("best_values", self.best_values), ("first_values", self.first_values)):
            if values is not None:
                tensors[name] = values
        if self.best_logits is not None:
            tensors["best_logits"] = torch.from_numpy(self.best_logits)
        position = {
            "identity": self.identity,
            "step": self.step,
            "evaluated": self.evaluated_step,
            "records": self.history_lines,
            "history_sha256": checkpoint.history_sha256(run, self.history_lines),
            "contrastive": self.contrastive_step,
            "contrastive_totals": asdict(self.contrastive_totals),
            "contrastive_loss": self.contrastive_loss,
            "head_start": self.head_start,
            "stopping": self.stopping.state(),
            "window": self.window.state(),
            "totals": asdict(self.totals) | {"wall_seconds": wall_seconds},
        }
        checkpoint.save(run, tensors, position)

    def restore(self, run: RunDir, stepper: Stepper, workers: Workers) -> None:
        """Read `checkpoint/latest` into this state and the stepper; without one, both stay at step 0.

        Raises:
            BadInput: the saved state is unreadable, or is that of another training.
        """
        # The first process reads for all, because the others need not see its disk.
        # An older version did not record the fields of the classifier, so those of its states cannot be compared.
        fields = {name: value for name, value in self.identity.items() if name.startswith(CLASSIFIER)}
        read = checkpoint.load(run, self.identity, fields | DEFAULTS) if workers.is_main else None
        loaded = workers.gather(read)[0]
        if loaded is None:
            return
        tensors, position = loaded
        logits = tensors.pop("best_logits", None)
        saved = [tensors.pop(name, None) for name in ("best_values", "first_values")]
        try:
            stepper.load(tensors)
            buffer = stepper.optimizer.values
            best, first = (
                values if values is None else values.to(workers.device).view_as(buffer) for values in saved
            )
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            # Names or shapes that this training does not have: somebody else wrote the file.
            flaw = " ".join(str(error).split())[:200]
            where = str(checkpoint.latest(run))
            raise BadInput(
                Problem(where, "the tensors of this training", flaw, checkpoint.RESTART)
            ) from error
        self.best_values, self.first_values = best, first
        self.best_logits = None if logits is None else logits.numpy()
        self.step, self.evaluated_step = position["step"], position["evaluated"]
        self.history_lines = position["records"]
        self.contrastive_step, self.contrastive_loss = position["contrastive"], position["contrastive_loss"]
        self.contrastive_totals = Totals(**position["contrastive_totals"])
        self.head_start = position["head_start"]
        self.stopping = Stopping(**position["stopping"])
        self.window, self.totals = Window.from_state(dict(position["window"])), Totals(**position["totals"])
