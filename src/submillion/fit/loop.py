"""The training loop: optimizer steps, evaluations, history lines and saved states, until the training ends."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from submillion.files.atomic import atomic_dir
from submillion.fit import checkpoint
from submillion.fit.evaluation import gathered_scores
from submillion.fit.interrupt import Interrupt
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.plan import TrainingPlan
from submillion.fit.progress import TrainingProgress
from submillion.fit.running_stats import Window
from submillion.fit.step import Stepper
from submillion.fit.stopping import Scores
from submillion.fit.tracking import Tracking
from submillion.fit.training_state import TrainingState
from submillion.fit.weight_average import WeightAverage
from submillion.model.infer import predict_logits
from submillion.run_format.manifest import HeadStartEntry
from submillion.rundir import RunDir

SAVE_S = 300.0  # longest time between two saved states; every evaluation saves one too


class _StopRequested(Exception):
    """The user asked the training to stop."""


@dataclass(frozen=True)
class Observers:
    """What watches a training: trackers, progress and signals."""

    tracking: Tracking
    progress: TrainingProgress
    interrupt: Interrupt


class TrainingLoop:
    """Runs a training from the step of its state to its end, or until the user stops it."""

    def __init__(
        self,
        stepper: Stepper,
        validation: LabelledTokens | None,
        plan: TrainingPlan,
        run: RunDir,
        state: TrainingState,
        started_at: float,
    ) -> None:
        """Prepare.

        Args:
            stepper: runs the optimizer steps.
            validation: this process's share of the validation set; None evaluates nothing.
            plan: when to evaluate, log and stop.
            run: where history and saved states go.
            state: where to start.
            started_at: `time.perf_counter()` when `fit` was called.
        """
        self.execution, self.workers = stepper.execution, stepper.workers
        self.stepper, self.validation, self.run = stepper, validation, run
        self.plan, self.recipe = plan, plan.train
        self.state = state
        self.total = stepper.batches.total_steps
        self.interrupted = False
        self.head_finish: HeadStartEntry | None = None
        self.first_inputs: np.ndarray | None = None
        """Facts of the probe that gave the head its last values, if the plan has one."""
        self.started_at = self.saved_at = started_at
        self._ended = False  # decided once per step, because the clock keeps running

    def observe(self, observers: Observers) -> None:
        """Set what watches the training, before anything is logged."""
        self._observers = observers

    def train(self) -> None:
        """Train until the planned steps are done, patience is exhausted, time is up, or the user stops it."""
        self.execution.classifier.train()  # once and not at every step: it visits hundreds of modules
        self.state.window.start_clock()
        try:
            while True:
                self._ended = self._is_at_end()
                if self._is_evaluation_due():
                    self._evaluate()
                    self._ended = self._ended or self._is_at_end()
                if self._ended or self.state.stopping.exhausted:
                    break
                self._train_one_step()
        except _StopRequested:
            self.interrupted = True
        else:
            self._log()
        self.save()

    def restore_best(self) -> None:
        """Write the best adapter of a resumed training again: a kill or a disk may have damaged its files."""
        values, best = self.stepper.optimizer.values, self.state.best_values
        if best is not None:
            present = values.clone()
            values.copy_(best)
            self._save_best()
            values.copy_(present)

    @property
    def epoch(self) -> float:
        """Epochs done; an int if it is whole."""
        return self.stepper.batches.epochs_after(self.state.step)

    @property
    def elapsed_s(self) -> float:
        """Seconds in optimizer steps and evaluations so far, earlier parts of a resumed run included."""
        totals = self.state.totals
        return totals.train_seconds + totals.eval_seconds + self.state.window.unread_seconds

    @property
    def wall_seconds(self) -> float:
        """Seconds in `fit` so far, earlier parts of a resumed run included."""
        return self.state.totals.wall_seconds + time.perf_counter() - self.started_at

    def _train_one_step(self) -> None:
        state, window = self.state, self.state.window
        window.elapsed_before_s = self.elapsed_s
        result = self.stepper.step(state.step, self._observers.interrupt, window.elapsed_before_s)
        state.step += 1
        window.add(state.step, result.loss, result.norm, result.texts, result.tokens)
        state.totals.texts += result.texts
        state.totals.tokens += result.tokens
        if state.step % self.recipe.log_every == 0 or state.step == self.total:
            self._log()
        self._observers.progress.step_done(state.step)
        if result.stop:
            raise _StopRequested
        if time.perf_counter() - self.saved_at > SAVE_S:
            self.save()

    def _is_evaluation_due(self) -> bool:
        """Return whether the weights of this step should be evaluated and have not been yet."""
        if self.validation is None:
            return False
        step, every = self.state.step, self.stepper.batches.evaluation_interval
        return step > self.state.evaluated_step and (step % every == 0 or self._ended)

    def _is_at_end(self) -> bool:
        """Return whether the planned steps are done, or the time is up after at least one step."""
        limit, step = self.recipe.max_seconds, self.state.step
        return step == self.total or (limit is not None and step > 0 and self.elapsed_s >= limit)

    def _evaluate(self) -> None:
        """Evaluate the present values, and their average if there is one; keep the best so far; log and save."""
        state = self.state
        state.window.read(state.totals)
        started_at = time.perf_counter()
        logits, scores = self._scored()
        averaged, compared = self._averaged_steps, {}
        if averaged > 1:  # one step is its own average
            with cast(WeightAverage, self.stepper.average).in_place():
                other_logits, other = self._scored()
            if state.stopping.is_better(other, scores):
                logits, scores, other = other_logits, other, scores
            else:
                averaged = 0
            compared = {"averaged_steps": averaged, "other": other}
        else:
            averaged = 0
        best = state.stopping.update(state.step, self.epoch, scores, averaged)
        state.evaluated_step = state.step
        if best:
            self._keep(logits, averaged > 0)
        seconds = time.perf_counter() - started_at
        state.totals.eval_seconds += seconds
        record = {"kind": "eval", "step": state.step, "epoch": self.epoch, **scores, "best": best}
        record |= compared
        record["seconds"] = round(seconds, 3)
        self.append(record)
        self._observers.progress.evaluated(record, state.stopping)
        self.save()

    @property
    def _averaged_steps(self) -> int:
        """Steps in the average of the trained values; 0 if there is none."""
        return self.stepper.average.steps if self.stepper.average else 0

    def _scored(self) -> tuple[np.ndarray, Scores]:
        """Return this process's validation logits, and the scores over all processes."""
        validation = cast(LabelledTokens, self.validation)
        logits = self._logits_of(validation)
        return logits, gathered_scores(logits, validation.labels, self.workers)

    def _keep(self, logits: np.ndarray, is_average: bool) -> None:
        """Keep the evaluated values, and write them as the best adapter."""
        average = self.stepper.average
        with average.in_place() if average and is_average else nullcontext():
            self.state.best_values = self.stepper.optimizer.values.clone()
            self.state.best_logits = logits if self.workers.world == 1 else None
            self._save_best()

    def _save_best(self) -> None:
        """Write the present values as the best adapter."""
        if self.workers.is_main:
            atomic_dir(checkpoint.best(self.run), self.execution.classifier.save_adapter)

    def _logits_of(self, validation: LabelledTokens) -> np.ndarray:
        """Return the logits of this process's validation texts."""

        def check_interrupt(_: int) -> None:
            # With several processes the others wait for this share; the request is then read at the next step.
            if self._observers.interrupt.stop_requested and self.workers.world == 1:
                raise _StopRequested  # a resumed run repeats the evaluation

        size = self.recipe.eval_batch_size
        return predict_logits(self.execution, validation.tokens, size, validation.prefix, check_interrupt)

    def _log(self) -> None:
        """Write the history line of the steps since the last one, if there were any."""
        window = self.state.window
        window.read(self.state.totals)
        if not window.losses:
            return
        step, elapsed_s = self.state.step, window.elapsed_before_s
        record = window.record(step, self.epoch, self.stepper.learning_rate(step - 1, elapsed_s))
        if self.recipe.max_seconds is not None:
            record["spent_before_s"] = elapsed_s  # the learning rate was computed from it
        self.state.window = Window()
        self.append(record)
        self._observers.progress.logged(record["loss"], record["samples_per_s"])

    def append(self, record: dict[str, Any]) -> None:
        """Append a record to the history and to the trackers."""
        self.state.history_lines += 1
        if self.workers.is_main:
            self.run.append_history(record)
            self._observers.tracking.log(record)

    def save(self) -> None:
        """Save everything needed to continue from this step."""
        self.state.window.read(self.state.totals)
        if self.workers.is_main:
            self.state.save(self.run, self.stepper, self.wall_seconds)
        self.saved_at = time.perf_counter()
        self.state.window.start_clock()
