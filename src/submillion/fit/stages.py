"""The stages around the steps of a training: contrastive stage, first and last probe, interpolation of the values."""

from __future__ import annotations

import time

import numpy as np

from submillion.errors import BadInput, Problem
from submillion.fit.checkpoint import RESTART, latest
from submillion.fit.contrastive import ContrastiveStage
from submillion.fit.head_start import head_inputs, start_from_probe
from submillion.fit.interpolation import interpolate
from submillion.fit.interrupt import Interrupt
from submillion.fit.loop import SAVE_S, TrainingLoop
from submillion.fit.running_stats import Window
from submillion.terminal.progress import progress_bar

KEPT_BYTES = 64 << 20
"""Size up to which the first inputs of the output layer are kept until the report: 40,000 texts of MiniLM."""


def run_first_stages(loop: TrainingLoop, interrupt: Interrupt, progress: bool) -> None:
    """Run what is left of the stages; a resumed training continues them, or has them behind it.

    Args:
        loop: a training at its start; `interrupted` is set if the user asked it to stop.
        interrupt: whether the user did.
        progress: show progress on standard error.
    """
    state, plan = loop.state, loop.plan
    if plan.head_start != "probe" or state.head_start is not None:
        return
    if state.contrastive_step < plan.contrastive.steps:
        _run_contrastive(loop, interrupt, progress)
    if loop.interrupted:
        return
    started_at = time.perf_counter()
    inputs = _head_inputs(loop, progress)
    facts = start_from_probe(loop.execution, loop.stepper.train, plan, inputs)
    if inputs.nbytes <= KEPT_BYTES:
        loop.first_inputs = inputs
    optimizer = loop.stepper.optimizer
    optimizer.forget()
    # All processes have computed the same; their last bits could differ.
    optimizer.values.copy_(loop.workers.gather(optimizer.values)[0])
    state.head_start = loop.workers.gather(facts)[0]
    state.totals.probe_seconds = time.perf_counter() - started_at
    if plan.train.wise_ft is not None:
        state.first_values = optimizer.values.clone()
    loop.save()


def interpolate_with_first_values(loop: TrainingLoop, share: float) -> None:
    """Leave a share of the training's change in the classifier.

    A run that is resumed after the end of its training repeats it, with the same result.

    Raises:
        BadInput: the saved state that the training was resumed from lacks the first values.
    """
    optimizer, first = loop.stepper.optimizer, loop.state.first_values
    if first is None:
        where = str(latest(loop.run))
        raise BadInput(Problem(where, "the values before the first step", "none", RESTART))
    interpolate(optimizer.views(first), optimizer.views(optimizer.values), share)


def finish_head(loop: TrainingLoop, progress: bool) -> None:
    """Fit the output layer anew on the features of the trained encoder.

    A run that is resumed after the end of its training repeats it, with the same result.
    """
    started_at = time.perf_counter()
    inputs = _head_inputs(loop, progress)
    loop.head_finish = start_from_probe(loop.execution, loop.stepper.train, loop.plan, inputs)
    loop.state.totals.probe_seconds += time.perf_counter() - started_at


def _head_inputs(loop: TrainingLoop, progress: bool) -> np.ndarray:
    """Return what the output layer receives for the training texts now, float32 [N, D]."""
    train = loop.stepper.train
    return head_inputs(loop.execution, train.tokens, loop.recipe.eval_batch_size, train.prefix, progress)


def _run_contrastive(loop: TrainingLoop, interrupt: Interrupt, progress: bool) -> None:
    """Run the steps of the contrastive stage that are left, or until the user asks for a stop."""
    state, steps = loop.state, loop.plan.contrastive.steps
    stage = ContrastiveStage(loop.stepper, loop.plan)
    lengths = loop.stepper.train.tokens.lengths
    loop.execution.classifier.train()
    state.window.start_clock()
    with progress_bar(progress, steps, "contrastive stage", unit="steps") as advance:
        advance(state.contrastive_step)
        while state.contrastive_step < steps:
            if interrupt.stop_requested:
                loop.interrupted = True
                break
            done = stage.step(state.contrastive_step)
            state.contrastive_step += 1
            tokens = int(lengths[done.rows].sum())
            state.window.add(
                state.contrastive_step, done.loss * len(done.rows), done.norm, len(done.rows), tokens
            )
            if state.contrastive_step % loop.recipe.log_every == 0 or state.contrastive_step == steps:
                _log(loop, stage.learning_rate(state.contrastive_step - 1))
            if time.perf_counter() - loop.saved_at > SAVE_S:
                _save(loop)
            advance(1)
    _save(loop)


def _log(loop: TrainingLoop, learning_rate: float) -> None:
    """Write the history line of the stage's steps since the last one."""
    state = loop.state
    state.window.read(state.contrastive_totals)
    record = state.window.record(state.contrastive_step, 0, learning_rate)
    del record["epoch"]
    state.contrastive_loss = record["loss"]
    state.window = Window()
    loop.append(record | {"kind": "contrastive"})


def _save(loop: TrainingLoop) -> None:
    loop.state.window.read(loop.state.contrastive_totals)
    loop.save()
