"""Searches a space with optuna: draws recipes, trains each one, and stops those that score low."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from submillion.recipe import TrainRecipe
from submillion.rundir import RunDir
from submillion.study.cells import Cell, CellRun
from submillion.study.design import StudyDesign
from submillion.study.engines.job import Engine, FinishedJob, Job
from submillion.study.fill_rank import count_recipe
from submillion.study.layout import failure, is_trained, training_job, write_study_file
from submillion.study.progress import StudyProgress
from submillion.study.search_storage import open_storage, sampler
from submillion.study.space import Distribution, Space

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
"""The name in study.json by that of optuna."""
BAD_INPUT = 2  # exit code of a run that would fail again, for example because its training diverged


@dataclass(frozen=True)
class SearchResult:
    """The cells and trials of a search."""

    design: StudyDesign
    """The study with every cell that was drawn, and the best one."""
    summary: dict[str, Any]
    """`seed`, `requested`, `complete`, `pruned`, `failed` (numbers of trials), `best` (name of a cell, or None) and
    `trials`: {`number`, `cell`, `state`, `value` (the objective; of a pruned trial that of its last evaluation),
    `params` (optuna's), `evaluations`, `error` (why it failed)}."""
    failed: dict[str, str]
    """Run -> the last line of its process; the next call starts it again."""

    @property
    def trained(self) -> set[str]:
        """Names of the trained cells; a pruned run is not one of them, even if it ended before it was stopped."""
        complete = {trial["cell"] for trial in self.summary["trials"] if trial["state"] == "complete"}
        return {self.design.cells[0].name} | complete

    def add_to(self, findings: dict[str, Any]) -> dict[str, Any]:
        """Return the findings with `search`, and with the `state` of cells whose training is not complete."""
        states = {trial["cell"]: trial["state"] for trial in self.summary["trials"]}
        cells = [
            cell if cell["seeds"] else cell | {"state": states.get(cell["name"])}
            for cell in findings["cells"]
        ]
        return findings | {"cells": cells, "search": self.summary}


class _Pruned(Exception):
    """The pruner stopped a trial."""


def search(design: StudyDesign, folder: Path, engine: Engine, progress: StudyProgress) -> SearchResult:
    """Draw and train recipes, one at a time, until the requested number of trials has ended.

    Each recipe is drawn by TPE (Bergstra et al., Algorithms for hyper-parameter optimization, NIPS 2011) among those
    within the budget. It is stopped at an evaluation below the median of the complete trials (Golovin et al., Google
    Vizier, KDD 2017, 3.2.2), or by `AshaPruner`. The draws depend only on the study's first seed, the number of the
    trial and the earlier trials, so a killed search continues as if it had not been interrupted: trials that were
    running start again with their parameters, and their runs continue from the last checkpoint.

    Args:
        design: a study with a space; its base is trained first.
        folder: the study's directory.
        engine: trains the runs.
        progress: counts the runs.

    Returns:
        The cells in the order of their trials; without a best one if runs failed that the next call repeats.

    Raises:
        BadInput: the storage belongs to another search.
    """
    if design.space is None:
        raise ValueError("the study has no search space")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_storage(design, folder)
    write_study_file(folder, design.study)
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    progress.add_done(len(ended))
    return _Search(study, design, design.space, folder, engine, progress).run()


class _Search:
    """The state of one call of `search`."""

    def __init__(
        self,
        study: optuna.Study,
        design: StudyDesign,
        space: Space,
        folder: Path,
        engine: Engine,
        progress: StudyProgress,
    ) -> None:
        self.study, self.design, self.space, self.folder = study, design, space, folder
        self.engine, self.progress = engine, progress
        self.seed, self.objective = design.study.seeds[0], design.study.objective
        self.requested = design.study.trials or 0
        self.failed: dict[str, str] = {}
        self.attempted: set[int] = set()
        self.cells = {design.cells[0].recipe.to_yaml(): design.cells[0]}

    def run(self) -> SearchResult:
        """Train the base, then every trial that has not ended."""
        base = training_job(self.folder, CellRun(self.design.cells[0], self.seed))
        exit_code = 0
        if is_trained(base.run):
            self.progress.add_done(1)
        else:
            exit_code = self.train(base, lambda: None)
            self.progress.finish(FinishedJob(base, exit_code))
        if exit_code:
            self.failed[base.name] = failure(base, exit_code)
        while not exit_code and (trial := self.next_trial()) is not None:
            self.run_trial(trial)
        return self.result()

    def next_trial(self) -> optuna.Trial | None:
        """Return a trial that was running when the study was killed, else a new one; None when all have ended."""
        trials = self.study.get_trials(deepcopy=False)
        for trial in trials:
            if not trial.state.is_finished() and trial.number not in self.attempted:
                # optuna has no public way to resume a trial: it expects interrupted ones to fail.
                return optuna.Trial(self.study, trial._trial_id)  # noqa: SLF001
        return self.study.ask() if len(trials) < self.requested else None

    def run_trial(self, trial: optuna.Trial) -> None:
        """Draw the recipe of a trial, or repeat its draw; train it, and report the result to optuna."""
        self.attempted.add(trial.number)
        levels, settings = self.space.draw(lambda distribution: self.suggest(trial, distribution))
        cell = self.cell(levels, settings)
        for name, value in (("levels", levels), ("settings", settings), ("cell", cell.name)):
            trial.set_user_attr(name, value)
        job, score = training_job(self.folder, CellRun(cell, self.seed)), self.known_score(cell)
        try:
            exit_code, score = (0, score) if score is not None else self.train_trial(trial, job, cell)
        except _Pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
            self.progress.finish(FinishedJob(job, 0), "pruned")
            return
        self.progress.finish(FinishedJob(job, exit_code))
        if not exit_code:
            self.study.tell(trial, score)
            return
        error = failure(job, exit_code)
        if exit_code == BAD_INPUT:
            trial.set_user_attr("error", error)
            self.study.tell(trial, state=TrialState.FAIL)
        else:  # killed, or a failure of the machine: the trial stays open
            self.failed[job.name] = error

    def train_trial(self, trial: optuna.Trial, job: Job, cell: Cell) -> tuple[int, float | None]:
        """Train a trial; return its exit code, and its objective if that is 0.

        Raises:
            _Pruned: the pruner stopped it, even if the process ended before.
        """
        watch = _Watch(trial, RunDir(job.run), self.objective, cell.recipe.train)
        watch.look()
        if exit_code := 0 if is_trained(job.run) else self.train(job, watch.look):
            return exit_code, None
        watch.look()
        return 0, RunDir(job.run).read_json(RunDir(job.run).metrics)["validation"][self.objective]

    def known_score(self, cell: Cell) -> float | None:
        """Return the objective of a complete trial that drew the same recipe, if any."""
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.name == "COMPLETE" and trial.user_attrs["cell"] == cell.name:
                return trial.value
        return None

    def train(self, job: Job, look: Callable[[], None]) -> int:
        """Train one job and return its exit code; an exception in `look` terminates it."""

        def tick(running: Sequence[Job]) -> None:
            self.progress.tick(list(running))
            look()

        (finished,) = self.engine.run([job], tick)
        return finished.exit_code

    def suggest(self, trial: optuna.Trial, distribution: Distribution) -> Any:
        """Draw from a distribution by TPE; a repeated draw of the same trial has the same result."""
        name = distribution.name
        self.study.sampler = sampler(f"{self.seed} {trial.number} {name}", self.requested)
        if distribution.choices:
            return trial.suggest_categorical(name, distribution.choices)
        low, high, step, log = distribution.low, distribution.high, distribution.step, distribution.log
        if distribution.integer:
            return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
        return trial.suggest_float(name, low, high, step=step, log=log)

    def cell(self, levels: dict[str, str], settings: dict[str, Any]) -> Cell:
        """Return the cell of a recipe, the same one for all trials that drew the recipe."""
        recipe = self.space.recipe(settings)
        count = count_recipe(recipe, self.space.num_labels)
        return self.cells.setdefault(recipe.to_yaml(), Cell(levels, settings, recipe, count))

    def result(self) -> SearchResult:
        """Return all cells, and the best one if all trials have ended."""
        base = self.design.cells[0]
        # The base, then the cells in the order of their trials, also of those trained by an earlier call.
        self.cells = {base.recipe.to_yaml(): base}
        trials = [
            self.trial_summary(trial)
            for trial in self.study.get_trials(deepcopy=False)
            if "cell" in trial.user_attrs
        ]
        complete = [trial for trial in trials if trial["state"] == "complete"]
        if not complete and not self.failed:
            error = next((trial["error"] for trial in trials if trial["error"]), "no trial was completed")
            self.failed["search"] = error
        best = None
        if not self.failed:
            best = max(complete, key=lambda trial: (trial["value"], -trial["number"]))["cell"]
        numbers = {state: sum(trial["state"] == state for trial in trials) for state in STATES.values()}
        summary = {
            "seed": self.seed,
            "requested": self.requested,
            **numbers,
            "best": best,
            "trials": trials,
        }
        cells = list(self.cells.values())
        best_cell = next((cell for cell in cells if cell.name == best), None)
        return SearchResult(replace(self.design, cells=cells, best=best_cell), summary, self.failed)

    def trial_summary(self, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
        """Return a trial as `SearchResult.summary` documents it."""
        attributes = trial.user_attrs
        return {
            "number": trial.number,
            "cell": self.cell(attributes["levels"], attributes["settings"]).name,
            "state": STATES.get(trial.state.name, "running"),
            "value": trial.value,
            "params": trial.params,
            "evaluations": [value for _, value in sorted(trial.intermediate_values.items())],
            "error": attributes.get("error"),
        }


class _Watch:
    """Reports the evaluations of a run to its trial, in order, and stops the trial if the pruner says so.

    Decisions depend on the evaluations alone, not on when they are read.
    """

    def __init__(self, trial: optuna.Trial, run: RunDir, objective: str, plan: TrainRecipe) -> None:
        self.trial, self.run, self.objective, self.plan = trial, run, objective, plan
        frozen = trial.study.get_trials(deepcopy=False)[trial.number]
        self.reported = max(frozen.intermediate_values, default=0)

    def look(self) -> None:
        """Report new evaluations.

        Raises:
            _Pruned: at an evaluation before the last one.
        """
        records = [record for record in self.run.read_history() if record["kind"] == "eval"]
        for number, record in enumerate(records, 1):
            if number < self.reported:
                continue
            if number > self.reported:
                self.trial.report(record[self.objective], number)
                self.reported = number
            is_last = self.plan.share_done(record["step"], record["epoch"]) == 1
            if not is_last and self.trial.should_prune():
                raise _Pruned
