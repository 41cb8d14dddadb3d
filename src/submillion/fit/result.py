"""The outcome of a training, as the manifest records it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from submillion.environment import peak_accelerator_mb, peak_memory_mb
from submillion.fit.loop import TrainingLoop
from submillion.run_format.manifest import HeadStartEntry


@dataclass(frozen=True)
class FitResult:
    """The outcome of a training; the classifier holds the adapter of `best_step`, or the last one."""

    best_step: int | None
    """Optimizer step of the best evaluation; None if training was interrupted before the first one, or has no
    validation texts."""
    best_epoch: float | None
    best_accuracy: float | None
    best_loss: float | None
    best_macro_f1: float | None
    objective: str
    """The score that selected the best evaluation: accuracy or macro_f1."""
    averaged_steps: int
    """Steps over which the values of that adapter are averaged; 0 if they are those of one step."""
    epochs_run: float
    steps: int
    planned_steps: int
    texts_seen: int
    tokens_seen: int
    """Tokens of those texts, special tokens included, padding excluded."""
    wall_seconds: float
    """Time in `fit`, evaluations included, summed over all resumed parts."""
    train_seconds: float
    """Time in optimizer steps only."""
    samples_per_second: float
    """Texts per second of `train_seconds`."""
    tokens_per_second: float
    peak_memory_mb: float
    """Peak resident memory of the main process, MB of 10^6 bytes."""
    peak_accelerator_mb: float | None
    """Peak memory of the main process's tensors on the accelerator, MB; None on the CPU."""
    precision: str
    execution: str
    """`reference`: the modules of transformers and peft; `compiled`: the same through torch.compile; `packed-sdpa`:
    the same on packed tokens; `packed-amx` and similar: the native kernels."""
    prefix_cached: bool
    """Whether the layers below the lowest adapter ran only once per text."""
    prefix_precision: str | None
    """The recipe's `train.prefix_precision`; None if these layers were not cached."""
    frozen_precision: str
    """The recipe's `train.frozen_precision`."""
    processes: int
    stopped_early: bool
    interrupted: bool
    contrastive_steps: int
    """Steps of the contrastive stage, all of them before the others."""
    contrastive_loss: float | None
    """Mean loss of its last steps; None without it."""
    contrastive_seconds: float
    head_start: HeadStartEntry | None
    """Facts of the probe that the head started from; None if it started at random."""
    head_finish: HeadStartEntry | None
    """Facts of the probe whose values the head has at the end; None if they are the trained ones."""
    probe_seconds: float
    """Time to fit these probes."""
    best_logits: np.ndarray | None = field(default=None, compare=False, repr=False)
    """Validation logits at `best_step`, float32 [N, C]; None without an evaluation or with several processes."""

    fold_logits: list[np.ndarray] | None = field(default=None, compare=False, repr=False)
    """By repeat of a cross-validation, the logits of the validation texts, each by the model of a fold that was trained
    without it, float32 [N, C]; None without a cross-validation, or before its end."""
    first_inputs: np.ndarray | None = field(default=None, compare=False, repr=False)
    """What the output layer received for the training texts before the first step, float32 [N, D]; None without a
    probe, in a resumed training, or if it is too large to be kept."""
    cross_validation_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's entry `training`: all fields except the arrays."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.compare}


def result_of(loop: TrainingLoop) -> FitResult:
    """Return the outcome of a training that has ended."""
    state, stopping, totals = loop.state, loop.state.stopping, loop.state.totals
    execution, workers = loop.execution, loop.workers
    seconds = max(totals.train_seconds, 1e-9)
    on_device = peak_accelerator_mb(workers.device)
    return FitResult(
        best_step=stopping.best_step,
        best_epoch=stopping.best_epoch,
        best_accuracy=stopping.best_accuracy,
        best_loss=stopping.best_loss,
        best_macro_f1=stopping.best_macro_f1,
        objective=stopping.objective,
        averaged_steps=_averaged_steps(loop),
        epochs_run=loop.epoch,
        steps=state.step,
        planned_steps=loop.total,
        texts_seen=totals.texts,
        tokens_seen=totals.tokens,
        wall_seconds=round(loop.wall_seconds, 1),
        train_seconds=round(totals.train_seconds, 1),
        samples_per_second=round(totals.texts / seconds, 2),
        tokens_per_second=round(totals.tokens / seconds, 1),
        peak_memory_mb=round(peak_memory_mb(), 1),
        peak_accelerator_mb=None if on_device is None else round(on_device, 1),
        precision=execution.precision.dtype_name,
        execution=execution.name,
        prefix_cached=loop.stepper.train.prefix is not None,
        prefix_precision=None if loop.stepper.train.prefix is None else loop.recipe.prefix_precision,
        frozen_precision=loop.recipe.frozen_precision,
        processes=workers.world,
        stopped_early=stopping.exhausted and state.step < loop.total,
        interrupted=loop.interrupted,
        contrastive_steps=state.contrastive_step,
        contrastive_loss=state.contrastive_loss,
        contrastive_seconds=round(state.contrastive_totals.train_seconds, 1),
        head_start=state.head_start,
        head_finish=loop.head_finish,
        probe_seconds=round(totals.probe_seconds, 1),
        best_logits=state.best_logits,
        first_inputs=loop.first_inputs,
    )


def _averaged_steps(loop: TrainingLoop) -> int:
    """Return the steps in the average that the classifier holds; 0 if it holds the values of one step."""
    if loop.validation is not None:
        return loop.state.stopping.averaged_steps
    return loop.stepper.average.steps if loop.stepper.average else 0
