"""The training loop: steps, evaluations, early stopping; once stopped, it goes on as if it had not been."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from submillion.atomic import atomic_dir
from submillion.environment import peak_accelerator_mb, peak_memory_mb
from submillion.errors import BadInput, Problem
from submillion.fit import checkpoint
from submillion.fit.batch_schedule import Rows, share
from submillion.fit.evaluation import as_record, scores_of_all
from submillion.fit.interrupt import Interrupt
from submillion.fit.progress import Progress
from submillion.fit.result import FitResult
from submillion.fit.running_stats import Diverged, Totals, Window
from submillion.fit.step import Stepper
from submillion.fit.stopping import Stopping
from submillion.fit.tracking import Tracking
from submillion.fit.workers import Workers
from submillion.model.execution.reference import Reference, cached_prefix
from submillion.model.infer import predict_logits
from submillion.recipe import TrainRecipe
from submillion.rundir import RunDir

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.execution.reference import Execution
    from submillion.model.precision import Precision

SAVE_S = 300.0  # the state is saved at least this often, not only at evaluations
# What a state that was saved before a field existed was trained with.
DEFAULTS = {f"train.{name}": value for name, value in TrainRecipe().model_dump(mode="json").items()}


def fit(
    classifier: Classifier,
    train_tokens: Tokens,
    train_labels: Sequence[int],
    val_tokens: Tokens,
    val_labels: Sequence[int],
    *,
    recipe: TrainRecipe,
    seed: int,
    run: RunDir,
    precision: Precision,
    workers: Workers | None = None,
    track: Sequence[str] = (),
    config: dict[str, Any] | None = None,
    resume: bool = False,
    progress: bool = True,
    execution: Execution | None = None,
) -> FitResult:
    """Train, and leave the best adapter in `classifier`.

    Writes the run's history, `checkpoint/latest` (at each evaluation, every 5 minutes, and when interrupted)
    and `checkpoint/best`. With several processes, each one calls this and the first one writes.

    Args:
        train_tokens, train_labels: the texts to learn from, and their class indices.
        val_tokens, val_labels: the texts that decide which adapter is best.
        precision: as `precision.choose` gave it.
        workers: the processes of this run; None joins them here.
        track: experiment trackers to log to.
        config: the whole recipe, for the trackers.
        resume: go on from `checkpoint/latest`, to the adapter and history of a run without the pause.
        progress: show progress on stderr.
        execution: how to run the classifier; None takes the reference execution.

    Raises:
        BadInput: training diverged, a tracker would not start, or what is to be resumed is another training.
        SubmillionError: the state could not be written; the one before is intact.
    """
    began = time.perf_counter()
    workers = workers or Workers.start(recipe.threads)
    progress = progress and workers.is_main
    classifier.module.to(workers.device)
    execution = execution or Reference(classifier, precision)

    if workers.world > 1:
        if recipe.max_seconds is not None:
            found = f"a limit with {workers.world} processes, each with a clock of its own"
            raise BadInput(Problem("train.max_seconds", "null", found, "Use train.max_tokens."))
        mine = share(np.arange(len(val_labels)), workers.rank, workers.world)
        val_tokens, val_labels = val_tokens.take(mine), [val_labels[row] for row in mine]
    train = Rows(train_tokens, np.asarray(train_labels, dtype=np.int64))
    validation = Rows(val_tokens, np.asarray(val_labels, dtype=np.int64))
    stepper = Stepper(classifier, train, recipe, seed, precision, workers, execution)
    training = Training(stepper, classifier, validation, recipe, run, precision, workers, began, execution)
    training.start(identity(stepper, train, validation, recipe, seed, workers), resume)
    if recipe.prefix_cache:
        for rows in (train, validation):
            size = recipe.eval_batch_size
            rows.prefix = cached_prefix(
                classifier, execution, precision, rows.tokens, size, progress, workers.world
            )
    try:
        with ExitStack() as parts:
            tracking = Tracking(track if workers.is_main else (), run, config or {}, training.step)
            parts.callback(tracking.finish)
            bar = parts.enter_context(Progress(training.total, progress, training.step))
            training.go(tracking, bar, parts.enter_context(Interrupt()))
    except Diverged as error:
        raise training.as_bad_input(error) from None
    finally:
        training.leave_best()
    return training.result(prefix_cached=train.prefix is not None)


def identity(
    stepper: Stepper, train: Rows, validation: Rows, recipe: TrainRecipe, seed: int, workers: Workers
) -> dict[str, Any]:
    """Return all that decides the steps of a training: a saved state may only go on where these are equal."""
    texts = hashlib.sha256()
    for rows in (train, validation):
        for array in (rows.tokens.ids, rows.tokens.offsets, rows.labels):
            texts.update(np.ascontiguousarray(array).data)
    # The number of threads moves the last bits at most; a run may go on with another.
    fields = recipe.model_dump(mode="json", exclude={"threads"})
    return {
        **{f"train.{name}": value for name, value in fields.items()},
        "seed": seed,
        "number of processes": workers.world,
        "texts and labels": texts.hexdigest(),
        "trainable parameters": stepper.optimizer.layout,
    }


class _Stopped(Exception):
    """The user wished the training to stop."""


class Training:
    """One training under way: `step` optimizer steps are done."""

    tracking: Tracking
    progress: Progress
    interrupt: Interrupt

    def __init__(
        self,
        stepper: Stepper,
        classifier: Classifier,
        validation: Rows,
        recipe: TrainRecipe,
        run: RunDir,
        precision: Precision,
        workers: Workers,
        began: float,
        execution: Execution,
    ) -> None:
        self.stepper, self.classifier, self.validation = stepper, classifier, validation
        self.recipe, self.run, self.precision, self.workers = recipe, run, precision, workers
        self.execution = execution
        self.total = stepper.feed.total_steps
        self.stopping = Stopping(recipe.patience)
        self.window, self.totals = Window(), Totals()
        self.best_values: torch.Tensor | None = None
        self.best_logits: np.ndarray | None = None
        self.identity: dict[str, Any] = {}
        self.step = 0
        self.evaluated = 0  # the step of the last evaluation
        self.records = 0  # lines of history
        self.interrupted = False
        self.ended = False  # decided once per step: the clock goes on while it is asked for
        self.began = self.saved = began

    def start(self, identity: dict[str, Any], resume: bool) -> None:
        """Begin at step 0, or where the saved state stands."""
        self.identity = identity
        if resume:
            # The first process reads for all, so that the others need not see its disk.
            mine = checkpoint.load(self.run, identity, DEFAULTS) if self.workers.is_main else None
            loaded = self.workers.gather(mine)[0]
            if loaded is not None:
                self.go_on_from(*loaded)
        if self.workers.is_main:
            # What was logged after the state was saved will be logged again.
            self.run.truncate_history(self.records)

    def go(self, tracking: Tracking, progress: Progress, interrupt: Interrupt) -> None:
        """Train until the planned steps are done, patience is used up, or the user wishes to stop."""
        self.tracking, self.progress, self.interrupt = tracking, progress, interrupt
        self.classifier.train()  # here and not at every step: it walks through some hundred modules
        self.window.start_clock()
        try:
            while True:
                self.ended = self.is_at_end()
                if self.evaluation_is_due():
                    self.evaluate()
                    self.ended = self.ended or self.is_at_end()
                if self.ended or self.stopping.exhausted:
                    break
                self.train_one_step()
        except _Stopped:
            self.interrupted = True
        else:
            self.log()
        self.save()

    def train_one_step(self) -> None:
        """Do a step, and log and save as it is time to."""
        self.window.spent_before = self.spent
        done = self.stepper.do(self.step, self.interrupt, self.window.spent_before)
        self.step += 1
        self.window.add(self.step, done.loss, done.norm, done.texts, done.tokens)
        self.totals.texts += done.texts
        self.totals.tokens += done.tokens
        if self.step % self.recipe.log_every == 0 or self.step == self.total:
            self.log()
        self.progress.step(self.step)
        if done.stop:
            raise _Stopped
        if time.perf_counter() - self.saved > SAVE_S:
            self.save()

    def evaluation_is_due(self) -> bool:
        """Whether the weights of this step are to be evaluated, and have not been."""
        every = self.recipe.eval_every
        if every == "epoch":
            every = self.stepper.feed.steps_per_epoch
        return self.step > self.evaluated and (self.step % every == 0 or self.ended)

    def is_at_end(self) -> bool:
        """Whether the planned steps are done, or the time is up after one step at least."""
        limit = self.recipe.max_seconds
        return self.step == self.total or (limit is not None and self.step > 0 and self.spent >= limit)

    @property
    def spent(self) -> float:
        """Seconds in optimizer steps and evaluations so far, earlier parts of a resumed run included."""
        return self.totals.train_seconds + self.totals.eval_seconds + self.window.running

    def evaluate(self) -> None:
        """Evaluate; keep values and adapter where they are the best so far; log and save."""
        self.window.read(self.totals)
        began = time.perf_counter()
        logits = self.predict()
        found = scores_of_all(logits, self.validation.labels, self.workers)
        best = self.stopping.saw(self.step, self.epoch, **found)
        self.evaluated = self.step
        if best:
            self.best_values = self.stepper.optimizer.values.clone()
            self.best_logits = logits if self.workers.world == 1 else None
            if self.workers.is_main:
                atomic_dir(checkpoint.best(self.run), self.classifier.save_adapter)
        seconds = time.perf_counter() - began
        self.totals.eval_seconds += seconds
        record = as_record(self.step, self.epoch, found, best, seconds)
        self.keep(record)
        self.progress.evaluated(record, self.stopping)
        self.save()

    def predict(self) -> np.ndarray:
        """Return the logits of this process's validation texts."""

        def stop_if_wished(_: int) -> None:
            # Where other processes wait for this one's share, the wish is heard at the next step.
            if self.interrupt.wished and self.workers.world == 1:
                raise _Stopped  # the evaluation is done anew when the run is resumed

        rows, size = self.validation, self.recipe.eval_batch_size
        return predict_logits(
            self.classifier,
            rows.tokens,
            size,
            self.precision,
            rows.prefix,
            stop_if_wished,
            self.execution,
        )

    def log(self) -> None:
        """Write the history's line over the steps since the last one, if there were any."""
        self.window.read(self.totals)
        if not self.window.losses:
            return
        spent = self.window.spent_before
        record = self.window.record(self.step, self.epoch, self.stepper.learning_rate(self.step - 1, spent))
        if self.recipe.max_seconds is not None:
            record["spent_before_s"] = spent  # what the rate was computed from
        self.window = Window()
        self.keep(record)
        self.progress.trained(record["loss"], record["samples_per_s"])

    def keep(self, record: dict[str, Any]) -> None:
        """Append a record to the history and to the trackers."""
        self.records += 1
        if self.workers.is_main:
            self.run.append_history(record)
            self.tracking.log(record)

    @property
    def epoch(self) -> float:
        """Epochs done; whole ones as int."""
        return self.stepper.feed.epochs(self.step)

    # -- stopping and going on ----------------------------------------------------------------------------

    def save(self) -> None:
        """Save all that is needed to go on from this step."""
        self.window.read(self.totals)
        if self.workers.is_main:
            tensors = self.stepper.state()
            if self.best_values is not None:
                tensors["best_values"] = self.best_values
            if self.best_logits is not None:
                tensors["best_logits"] = torch.from_numpy(self.best_logits)
            position = {
                "identity": self.identity,
                "step": self.step,
                "evaluated": self.evaluated,
                "records": self.records,
                "stopping": self.stopping.state(),
                "window": self.window.state(),
                "totals": asdict(self.totals) | {"wall_seconds": self.wall_seconds},
            }
            checkpoint.save(self.run, tensors, position)
        self.saved = time.perf_counter()
        self.window.start_clock()

    def go_on_from(self, tensors: dict[str, torch.Tensor], position: dict[str, Any]) -> None:
        """Take over a saved state."""
        best = tensors.pop("best_values", None)
        self.best_values = None if best is None else best.to(self.workers.device)
        logits = tensors.pop("best_logits", None)
        self.best_logits = None if logits is None else logits.numpy()
        self.stepper.load(tensors)
        self.step, self.evaluated = position["step"], position["evaluated"]
        self.records = position["records"]
        self.stopping = Stopping(**position["stopping"])
        self.window, self.totals = Window(**position["window"]), Totals(**position["totals"])

    def leave_best(self) -> None:
        """Put the best values so far into the classifier; without any evaluation, the last ones stay."""
        if self.best_values is not None:
            self.stepper.optimizer.values.copy_(self.best_values)
        self.stepper.optimizer.release()
        self.classifier.eval()

    def as_bad_input(self, error: Diverged) -> BadInput:
        """Return what to tell the user when training diverged."""
        rate = self.stepper.learning_rate(error.step - 1, self.window.spent_before)
        remedy = f"Lower train.learning_rate (it peaks at {self.recipe.learning_rate:g}, here {rate:.2g})"
        if self.precision.dtype_name != "float32":
            remedy += f", or set train.precision=float32 (it was {self.precision.dtype_name})"
        if self.stopping.best_step is not None:
            place = checkpoint.best(self.run)
            remedy += f". The best adapter, of step {self.stopping.best_step}, is in {place}"
        where = f"training, step {error.step}"
        return BadInput(Problem(where, f"a finite {error.what}", str(error.value), f"{remedy}."))

    @property
    def wall_seconds(self) -> float:
        """Seconds in `fit` so far, earlier parts of a resumed run included."""
        return self.totals.wall_seconds + time.perf_counter() - self.began

    def result(self, prefix_cached: bool) -> FitResult:
        """Return what was done."""
        seconds = max(self.totals.train_seconds, 1e-9)
        on_device = peak_accelerator_mb(self.workers.device)
        return FitResult(
            best_step=self.stopping.best_step,
            best_epoch=self.stopping.best_epoch,
            best_accuracy=self.stopping.best_accuracy,
            best_loss=self.stopping.best_loss,
            best_macro_f1=self.stopping.best_macro_f1,
            epochs_run=self.epoch,
            steps=self.step,
            planned_steps=self.total,
            texts_seen=self.totals.texts,
            tokens_seen=self.totals.tokens,
            wall_seconds=round(self.wall_seconds, 1),
            train_seconds=round(self.totals.train_seconds, 1),
            samples_per_second=round(self.totals.texts / seconds, 2),
            tokens_per_second=round(self.totals.tokens / seconds, 1),
            peak_memory_mb=round(peak_memory_mb(), 1),
            peak_accelerator_mb=None if on_device is None else round(on_device, 1),
            precision=self.precision.dtype_name,
            execution=self.execution.name,
            prefix_cached=prefix_cached,
            processes=self.workers.world,
            stopped_early=self.stopping.exhausted and self.step < self.total,
            interrupted=self.interrupted,
            best_logits=self.best_logits,
        )


__all__ = ["FitResult", "fit"]
