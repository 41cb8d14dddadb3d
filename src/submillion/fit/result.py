"""What a training did, as the manifest keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class FitResult:
    """What a training did; the classifier holds the adapter of `best_step`."""

    best_step: int | None
    """Optimizer step of the best evaluation; None where training was interrupted before the first one."""
    best_epoch: float | None
    best_accuracy: float | None
    best_loss: float | None
    best_macro_f1: float | None
    epochs_run: float
    steps: int
    planned_steps: int
    texts_seen: int
    tokens_seen: int
    """Tokens of those texts, special tokens counted, padding not."""
    wall_seconds: float
    """Time in `fit`, evaluations included, over all resumed parts."""
    train_seconds: float
    """Time in optimizer steps alone."""
    samples_per_second: float
    """Texts per second of `train_seconds`."""
    tokens_per_second: float
    peak_memory_mb: float
    """Largest resident memory of the main process, MB of 10^6 bytes."""
    peak_accelerator_mb: float | None
    """Most memory that tensors of the main process had on the accelerator, MB; None on the cpu."""
    precision: str
    execution: str
    """`reference`: the modules of transformers and peft; `compiled`: those through torch.compile; `packed-sdpa`: those
    on packed tokens; `packed-amx` and the like: the native kernels."""
    prefix_cached: bool
    """Whether the layers below the lowest adapter ran once per text."""
    processes: int
    stopped_early: bool
    interrupted: bool
    best_logits: np.ndarray | None = field(default=None, compare=False, repr=False)
    """Of the validation texts at `best_step`, float32 [N, C]; None without an evaluation, and where several processes
    shared the texts."""

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's entry `training`: all but the logits."""
        values = asdict(self)
        del values["best_logits"]
        return values
