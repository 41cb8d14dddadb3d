"""The public function `fit`: trains a classifier and leaves its best adapter in it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from submillion.errors import BadInput, Problem
from submillion.fit import checkpoint
from submillion.fit.batch_schedule import share
from submillion.fit.identity import training_identity
from submillion.fit.interrupt import Interrupt
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.loop import Observers, TrainingLoop
from submillion.fit.options import FitOptions
from submillion.fit.plan import TrainingPlan
from submillion.fit.progress import TrainingProgress
from submillion.fit.result import FitResult, result_of
from submillion.fit.running_stats import Diverged
from submillion.fit.stages import finish_head, interpolate_with_first_values, run_first_stages
from submillion.fit.step import Stepper
from submillion.fit.stopping import Stopping
from submillion.fit.tracking import Tracking
from submillion.fit.training_state import TrainingState
from submillion.fit.workers import Workers
from submillion.limits import memory
from submillion.model.prefix import PrefixCache
from submillion.model.process_state import training_settings
from submillion.model.protocol import Execution, LowerLayers
from submillion.recipe import Recipe, TrainRecipe
from submillion.recipe_data import CROSS_VALIDATION
from submillion.rundir import RunDir

DEFAULT_OPTIONS = FitOptions()


def fit(
    execution: Execution,
    train: LabelledTokens,
    validation: LabelledTokens | None,
    *,
    plan: TrainingPlan,
    run: RunDir,
    workers: Workers,
    options: FitOptions = DEFAULT_OPTIONS,
    lower: LowerLayers | None = None,
) -> FitResult:
    """Train, and leave the best adapter in the classifier.

    Writes the run's history, `checkpoint/latest` (at each evaluation, every 5 minutes, and when interrupted)
    and `checkpoint/best`. With several processes, each of them calls this and the first one writes. Settings of
    the process (torch's generators, threads and denormal mode, signal handlers) are restored at the end.

    Args:
        execution: runs the classifier to train, which is on the device of `workers`.
        train: the training set.
        validation: the validation set, on which the best adapter is selected; None selects the last one.
        plan: how to train.
        run: the run directory to write to.
        workers: the processes that train together.
        options: resume, progress and trackers.
        lower: what fills the prefix cache in place of `execution`.

    Returns:
        What was done, and the scores of the best adapter, if there is a validation set.

    Raises:
        BadInput: training diverged, a tracker did not start, or the saved state is that of another training.
        SubmillionError: the state could not be written; the previous one is intact.
    """
    started_at = time.perf_counter()
    recipe = plan.train
    check_time_limit(recipe, workers.world)
    with training_settings(recipe.threads, workers.device.type):
        if workers.world > 1 and validation is not None:
            validation = validation.take(
                share(np.arange(len(validation.labels)), workers.rank, workers.world)
            )
        stepper = Stepper(execution, train, recipe, plan.seed, workers)
        layout = stepper.optimizer.layout
        texts = [train] if validation is None else [train, validation]
        state = TrainingState(
            training_identity(texts, layout, plan, workers.world),
            Stopping(recipe.patience, recipe.objective),
            evaluated_step=-1 if plan.head_start == "probe" else 0,
        )
        loop = TrainingLoop(stepper, validation, plan, run, state, started_at)
        try:
            _start(loop, options, lower)
            _train(loop, options)
        except Diverged as error:
            raise _as_bad_input(error, loop) from None
        finally:
            _leave_best(loop)
        if recipe.wise_ft is not None and not loop.interrupted:
            interpolate_with_first_values(loop, recipe.wise_ft)
        if plan.head_finish == "probe" and not loop.interrupted:
            finish_head(loop, options.progress and workers.is_main)
        return result_of(loop)


def check_processes(recipe: Recipe, processes: int) -> None:
    """Refuse what a single process alone can do, where there are several.

    Raises:
        BadInput: the recipe has a contrastive stage, whose loss compares all texts of a batch; a cross-validation; or a
            time limit.
    """
    if processes == 1:
        return
    check_time_limit(recipe.train, processes)
    for name, asked in (
        ("contrastive.steps", recipe.contrastive.steps > 0),
        ("data.validation", recipe.data.validation == CROSS_VALIDATION),
    ):
        if asked:
            found, remedy = (
                f"{processes} processes",
                f"Start one process, or leave @{{{name}}} at its default.",
            )
            raise BadInput(Problem(f"@{{{name}}}", "a single process", found, remedy))


def check_time_limit(recipe: TrainRecipe, processes: int) -> None:
    """Refuse a time limit with several processes: each has its own clock, so they would disagree on the end.

    Raises:
        BadInput: the recipe has one, and there are several processes.
    """
    if processes > 1 and recipe.max_seconds is not None:
        found = f"{recipe.max_seconds:g} with {processes} processes, whose clocks differ"
        raise BadInput(Problem("@{train.max_seconds}", "None", found, "Use @{train.max_tokens}."))


def _start(loop: TrainingLoop, options: FitOptions, lower: LowerLayers | None) -> None:
    """Restore the saved state of a resumed training, then cache the frozen layers' output."""
    workers, state = loop.workers, loop.state
    if options.resume:
        state.restore(loop.run, loop.stepper, workers)
        loop.restore_best()
    if workers.is_main:
        # Lines that were logged after the state was saved will be logged again.
        loop.run.truncate_history(state.history_lines)
    if loop.recipe.prefix_cache:
        loop.stepper.train = _with_prefix(loop.stepper.train, loop, options.progress, lower)
        if loop.validation is not None:
            loop.validation = _with_prefix(loop.validation, loop, options.progress, lower)


def _with_prefix(
    texts: LabelledTokens, loop: TrainingLoop, progress: bool, lower: LowerLayers | None
) -> LabelledTokens:
    if texts.prefix is not None:
        return texts
    workers, size = loop.workers, loop.recipe.eval_batch_size
    # The processes of a run are assumed to share one machine's memory.
    available = memory().available // workers.world
    shown = progress and workers.is_main
    prefix = PrefixCache.build(loop.execution, texts.tokens, size, available, shown, lower)
    return replace(texts, prefix=prefix)


def _train(loop: TrainingLoop, options: FitOptions) -> None:
    """Run the loop with trackers, progress and signal handlers, which end with it."""
    is_main, step = loop.workers.is_main, loop.state.step
    with ExitStack() as stack:
        names = options.trackers if is_main else ()
        tracking = Tracking(names, loop.run, options.tracker_config, step)
        stack.callback(tracking.finish)
        limit = loop.recipe.max_seconds
        left = None if limit is None else limit - loop.elapsed_s
        progress = TrainingProgress(loop.total, options.progress and is_main, step, left)
        observers = Observers(tracking, progress, stack.enter_context(Interrupt()))
        loop.observe(observers)
        run_first_stages(loop, observers.interrupt, options.progress and is_main)
        if not loop.interrupted:
            stack.enter_context(progress)
            loop.train()
        # A request after the last step, too: what follows may be long, such as the folds of a cross-validation.
        if loop.workers.world == 1 and observers.interrupt.stop_requested:
            loop.interrupted = True


def _leave_best(loop: TrainingLoop) -> None:
    """Put the best values so far into the classifier.

    Without validation texts these are the average, if there is one; before any evaluation, the last values stay.
    """
    optimizer, average = loop.stepper.optimizer, loop.stepper.average
    if loop.state.best_values is not None:
        optimizer.values.copy_(loop.state.best_values)
    elif loop.validation is None and average is not None and average.steps:
        optimizer.values.copy_(average.mean())
    optimizer.release()
    loop.execution.classifier.eval()


def _as_bad_input(error: Diverged, loop: TrainingLoop) -> BadInput:
    """Return the message for a training that diverged."""
    rate = loop.stepper.learning_rate(error.step - 1, loop.state.window.elapsed_before_s)
    peak, dtype = loop.recipe.learning_rate, loop.execution.precision.dtype_name
    remedy = f"Lower @{{train.learning_rate}} (its peak is {peak:g}; at this step it was {rate:.2g})"
    if dtype != "float32":
        remedy += f", or use @{{train.precision=float32}} (it was {dtype})"
    best_step = loop.state.stopping.best_step
    if best_step is not None:
        remedy += f". The best adapter, of step {best_step}, is in {checkpoint.best(loop.run)}"
    where = f"training, step {error.step}"
    return BadInput(Problem(where, f"a finite {error.quantity}", str(error.value), f"{remedy}."))
