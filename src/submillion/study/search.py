"""A search: optuna draws recipes, each is trained as far as it does well, and a file keeps what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.errors import BadInput, Problem
from submillion.rundir import RunDir
from submillion.study.engines import Ended, Engine, Job
from submillion.study.fill_rank import counted
from submillion.study.grid import Cell, Grid, Trial
from submillion.study.layout import job_of, keep_study, last_line
from submillion.study.progress import Progress
from submillion.study.search_storage import open_storage, sampler
from submillion.study.space import Question, Space
from submillion.study.worker import is_done

if TYPE_CHECKING:
    import optuna

STATES = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
}  # optuna's, and how they are called here
BAD_INPUT = 2  # exit code of a run that will fail again: its training diverged


@dataclass(frozen=True)
class Searched:
    """What a search came to."""

    grid: Grid
    """The study with every cell that was drawn, and the chosen one."""
    told: dict[str, Any]
    """`seed`, `asked`, `complete`, `pruned`, `failed` (numbers of trials), `chosen` (a cell's name, or None) and
    `trials`: {`number`, `cell`, `state`, `value` (the objective; of a pruned trial the last evaluation's), `params`
    (optuna's), `evaluations`, `said` (why it failed)}."""
    failed: dict[str, str]
    """Run -> what its process said last; the next call begins it again."""

    @property
    def trained(self) -> set[str]:
        """Names of the cells that count as trained: a pruned run that was quick enough to end is not among them."""
        complete = {trial["cell"] for trial in self.told["trials"] if trial["state"] == "complete"}
        return {self.grid.cells[0].name} | complete

    def added_to(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the findings of `judge` with `search`, and the `state` of cells that were not trained to the end."""
        states = {trial["cell"]: trial["state"] for trial in self.told["trials"]}
        cells = [
            cell if cell["seeds"] else cell | {"state": states.get(cell["name"])} for cell in found["cells"]
        ]
        return found | {"cells": cells, "search": self.told}


class _Pruned(Exception):
    """A trial does worse than others did at this evaluation."""


def search(grid: Grid, place: Path, engine: Engine, progress: Progress) -> Searched:
    """Draw and train recipes, one at a time, until as many trials have ended as the study asks for.

    Each is drawn by TPE (Bergstra et al., Algorithms for hyper-parameter optimization, NIPS 2011) from what fits the
    budget, and ended at an evaluation where it is below the median of the complete trials (Golovin et al., Google
    Vizier, KDD 2017, 3.2.2), or where `Asha` says so. What is drawn follows from the study's first seed, the trial's
    number and the trials before; so a search that was killed goes on as if it had not been. Trials under way then are
    begun again with their parameters, and their runs go on where they stand.

    Args:
        grid: a study with a space; its base is trained first.
        place: the study's directory.
        engine: trains the runs.
        progress: told of each that ends.

    Returns:
        The cells in the order of their trials; without a chosen one where runs failed that are to be begun again.

    Raises:
        BadInput: optuna is not installed, or the storage there is of another search.
    """
    try:
        import optuna
    except ImportError as error:
        raise BadInput(
            Problem("search", "the package optuna", "none", "pip install 'submillion[search]'")
        ) from error
    assert grid.space is not None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_storage(grid, place)
    keep_study(place, grid.study)
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    progress.had(len(ended))
    return _Search(study, grid, grid.space, place, engine, progress).go()


class _Search:
    """The state of one call."""

    def __init__(
        self, study: optuna.Study, grid: Grid, space: Space, place: Path, engine: Engine, progress: Progress
    ) -> None:
        self.study, self.grid, self.space, self.place = study, grid, space, place
        self.engine, self.progress = engine, progress
        self.seed, self.objective = grid.study.seeds[0], grid.study.objective
        self.asked = grid.study.trials or 0
        self.failed: dict[str, str] = {}
        self.tried: set[int] = set()
        self.cells = {grid.cells[0].recipe.to_yaml(): grid.cells[0]}

    def go(self) -> Searched:
        """Train the base, then every trial that has not ended."""
        base = job_of(self.place, Trial(self.grid.cells[0], self.seed))
        code = 0
        if is_done(base.run):
            self.progress.had(1)
        else:
            code = self.train(base, lambda: None)
            self.progress.ended(Ended(base, code))
        if code:
            self.failed[base.name] = last_line(base.log) or f"exit code {code}"
        while not code and (trial := self.next()) is not None:
            self.conduct(trial)
        return self.outcome()

    def next(self) -> optuna.Trial | None:
        """Return a trial that was under way when the study was killed, else a new one; None when all have ended."""
        import optuna

        trials = self.study.get_trials(deepcopy=False)
        for trial in trials:
            if not trial.state.is_finished() and trial.number not in self.tried:
                # optuna has no public way to take up a trial again: those under way are meant to fail.
                return optuna.Trial(self.study, trial._trial_id)
        return self.study.ask() if len(trials) < self.asked else None

    def conduct(self, trial: optuna.Trial) -> None:
        """Draw a trial's recipe, or find what was drawn; train it, and tell optuna how it went."""
        from optuna.trial import TrialState

        self.tried.add(trial.number)
        levels, settings = self.space.draw(lambda question: self.ask(trial, question))
        cell = self.cell(levels, settings)
        for name, kept in (("levels", levels), ("settings", settings), ("cell", cell.name)):
            trial.set_user_attr(name, kept)
        job, value = job_of(self.place, Trial(cell, self.seed)), self.complete(cell)
        try:
            code, value = (0, value) if value is not None else self.trained(trial, job)
        except _Pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
            self.progress.ended(Ended(job, 0), "pruned")
            return
        self.progress.ended(Ended(job, code))
        if not code:
            self.study.tell(trial, value)
            return
        said = last_line(job.log) or f"exit code {code}"
        if code == BAD_INPUT:
            trial.set_user_attr("said", said)
            self.study.tell(trial, state=TrialState.FAIL)
        else:  # it was killed, or the machine failed: it stays under way
            self.failed[job.name] = said

    def trained(self, trial: optuna.Trial, job: Job) -> tuple[int, float | None]:
        """Train a trial; return its exit code, and its objective if that is 0.

        Raises:
            _Pruned: its process was ended, or would have been if it had not been quicker.
        """
        watch = _Watch(trial, job, self.objective)
        watch.look()
        if code := 0 if is_done(job.run) else self.train(job, watch.look):
            return code, None
        watch.look()
        return 0, RunDir(job.run).read_json(RunDir(job.run).metrics)["validation"][self.objective]

    def complete(self, cell: Cell) -> float | None:
        """Return the objective of a complete trial that drew the same recipe."""
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.name == "COMPLETE" and trial.user_attrs["cell"] == cell.name:
                return trial.value
        return None

    def train(self, job: Job, look: Callable[[], None]) -> int:
        """Train one job and return its exit code; what `look` raises ends it."""

        def tick(running: Sequence[Job]) -> None:
            self.progress.tick(list(running))
            look()

        (ended,) = self.engine.run([job], tick)
        return ended.code

    def ask(self, trial: optuna.Trial, question: Question) -> Any:
        """Answer a question of the space by TPE; a question that a trial has answered is answered alike."""
        self.study.sampler = sampler(f"{self.seed} {trial.number} {question.name}", self.asked)
        if question.choices:
            return trial.suggest_categorical(question.name, question.choices)
        low, high, step, log = question.low, question.high, question.step, question.log
        if question.whole:
            return trial.suggest_int(question.name, int(low), int(high), step=int(step or 1), log=log)
        return trial.suggest_float(question.name, low, high, step=step, log=log)

    def cell(self, levels: dict[str, str], settings: dict[str, Any]) -> Cell:
        """Return the cell of a recipe: one for all trials that drew it."""
        recipe = self.space.recipe(settings)
        count = counted(recipe, self.space.num_labels)
        return self.cells.setdefault(recipe.to_yaml(), Cell(levels, settings, recipe, count))

    def outcome(self) -> Searched:
        """Return the cells, the best one of which is chosen once all trials have ended."""
        base = self.grid.cells[0]
        # The others in the order of their trials, whichever of them were trained now.
        self.cells = {base.recipe.to_yaml(): base}
        told = [
            self.told(trial) for trial in self.study.get_trials(deepcopy=False) if "cell" in trial.user_attrs
        ]
        complete = [trial for trial in told if trial["state"] == "complete"]
        if not complete and not self.failed:
            said = next((trial["said"] for trial in told if trial["said"]), "no trial ended well")
            self.failed["search"] = said
        best = None
        if not self.failed:
            best = max(complete, key=lambda trial: (trial["value"], -trial["number"]))["cell"]
        numbers = {state: sum(trial["state"] == state for trial in told) for state in STATES.values()}
        summary = {"seed": self.seed, "asked": self.asked, **numbers, "chosen": best, "trials": told}
        cells = list(self.cells.values())
        chosen = next((cell for cell in cells if cell.name == best), None)
        return Searched(replace(self.grid, cells=cells, chosen=chosen), summary, self.failed)

    def told(self, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
        """Return what the findings say of a trial."""
        attributes = trial.user_attrs
        return {
            "number": trial.number,
            "cell": self.cell(attributes["levels"], attributes["settings"]).name,
            "state": STATES.get(trial.state.name, "under way"),
            "value": trial.value,
            "params": trial.params,
            "evaluations": [value for _, value in sorted(trial.intermediate_values.items())],
            "said": attributes.get("said"),
        }


class _Watch:
    """Reports a run's evaluations to its trial, in their order, and says when it is to be ended.

    What is decided follows from the evaluations alone, not from when they are read.
    """

    def __init__(self, trial: optuna.Trial, job: Job, objective: str) -> None:
        from submillion.recipe import Recipe

        assert job.recipe is not None
        self.trial, self.run, self.objective = trial, RunDir(job.run), objective
        self.epochs = Recipe.read(job.recipe.read_text(encoding="utf-8"), str(job.recipe)).train.epochs
        frozen = trial.study.get_trials(deepcopy=False)[trial.number]
        self.reported = max(frozen.intermediate_values, default=0)

    def look(self) -> None:
        """Report what is new.

        Raises:
            _Pruned: an evaluation before the last one does not let it go on.
        """
        records = [record for record in self.run.read_history() if record["kind"] == "eval"]
        for number, record in enumerate(records, 1):
            if number < self.reported:
                continue
            if number > self.reported:
                self.trial.report(record[self.objective], number)
                self.reported = number
            if record["epoch"] < self.epochs and self.trial.should_prune():
                raise _Pruned
