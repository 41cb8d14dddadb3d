"""A search: optuna draws recipes, each is trained as far as it does well, and a file keeps what was drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from submillion.errors import BadInput, Problem
from submillion.pipeline import HELD_BACK
from submillion.rundir import RunDir
from submillion.study.counting import counted
from submillion.study.engines import Ended, Engine, Job
from submillion.study.grid import Cell, Grid, Trial
from submillion.study.jobs import job_of, keep_study, last_line
from submillion.study.progress import Progress
from submillion.study.space import Question, Space
from submillion.study.trial import is_done

if TYPE_CHECKING:
    import optuna

STORAGE = "search.db"
DRAWN_BLINDLY = 10  # trials before those that learn from the others, at most a third of all
NEVER_PRUNED = 4  # trials that must be complete before one is compared with their median
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

    def added_to(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the findings of `judge` with `search`, and the `state` of cells that were not trained to the end."""
        states = {trial["cell"]: trial["state"] for trial in self.told["trials"]}
        cells = [
            cell if cell["seeds"] else cell | {"state": states.get(cell["name"], "not trained")}
            for cell in found["cells"]
        ]
        return found | {"cells": cells, "search": self.told}


class _Pruned(Exception):
    """A trial does worse than the median of the complete ones did at this evaluation."""


def search(grid: Grid, place: Path, engine: Engine, progress: Progress) -> Searched:
    """Draw and train recipes, one at a time, until as many trials have ended as the study asks for.

    Each is drawn by TPE (Bergstra et al., Algorithms for hyper-parameter optimization, NIPS 2011) from what fits the
    budget, and ended at an evaluation where it is below the median of the complete trials (Golovin et al., Google
    Vizier, KDD 2017, 3.2.2). What is drawn follows from the study's first seed, the trial's number and the trials
    before; so a search that was killed goes on as if it had not been. Trials under way then are begun again with
    their parameters, and their runs go on where they stand.

    Args:
        grid: a study with a space; its base is trained first.
        place: the study's directory.
        engine: trains the runs.
        progress: told of each that ends.

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
    study = _opened(grid, place)
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
        if is_done(base.run):
            self.progress.had(1)
        elif self.train(base, lambda: None):
            self.failed[base.name] = last_line(base.log)
        while not self.failed.get(base.name) and (trial := self.next()) is not None:
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
        trial.set_user_attr("levels", levels)
        trial.set_user_attr("settings", settings)
        job = job_of(self.place, Trial(self.cell(levels, settings), self.seed))
        watch = _Watch(trial, job, self.objective)
        try:
            watch.look()
            code = 0 if is_done(job.run) else self.train(job, watch.look)
            if not code:
                watch.look()
        except _Pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
            self.progress.ended(Ended(job, 0), "pruned")
            return
        if not code:
            metrics = RunDir(job.run).read_json(RunDir(job.run).metrics)
            self.study.tell(trial, metrics["validation"][self.objective])
            return
        said = last_line(job.log) or f"exit code {code}"
        if code == BAD_INPUT:
            trial.set_user_attr("said", said)
            self.study.tell(trial, state=TrialState.FAIL)
        else:  # it was killed, or the machine failed: it stays under way
            self.failed[job.name] = said

    def train(self, job: Job, look: Callable[[], None]) -> int:
        """Train one job and return its exit code; what `look` raises ends it."""

        def tick(running: Sequence[Job]) -> None:
            self.progress.tick(list(running))
            look()

        (ended,) = self.engine.run([job], tick)
        self.progress.ended(ended)
        return ended.code

    def ask(self, trial: optuna.Trial, question: Question) -> Any:
        """Answer a question of the space by TPE; a question that a trial has answered is answered alike."""
        self.study.sampler = _sampler(f"{self.seed} {trial.number} {question.name}", self.asked)
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
        told: list[dict[str, Any]] = []
        ranked = []
        for trial in self.study.get_trials(deepcopy=False):
            attributes = trial.user_attrs
            if "settings" not in attributes:
                continue
            cell = self.cell(attributes["levels"], attributes["settings"])
            state = "under way" if not trial.state.is_finished() else trial.state.name.lower()
            if state == "complete":
                ranked.append((trial.value, -trial.number, cell.name))
            told.append(
                {
                    "number": trial.number,
                    "cell": cell.name,
                    "state": state,
                    "value": trial.value,
                    "params": trial.params,
                    "evaluations": [value for _, value in sorted(trial.intermediate_values.items())],
                    "said": attributes.get("said"),
                }
            )
        best = max(ranked)[-1] if ranked and not self.failed else None
        if not ranked and not self.failed:
            self.failed["search"] = next(
                (trial["said"] for trial in told if trial["said"]), "no trial ended well"
            )
        states = {
            name: sum(trial["state"] == name for trial in told) for name in ("complete", "pruned", "fail")
        }
        states["failed"] = states.pop("fail")
        summary = {"seed": self.seed, "asked": self.asked, **states, "chosen": best, "trials": told}
        cells = list(self.cells.values())
        chosen = next((cell for cell in cells if cell.name == best), None)
        return Searched(replace(self.grid, cells=cells, chosen=chosen), summary, self.failed)


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
            _Pruned: an evaluation before the last one is below the median.
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


def _opened(grid: Grid, place: Path) -> optuna.Study:
    """Open the storage, or make it.

    Raises:
        BadInput: another search lies there, or trials are to be added to one whose test rows were looked at.
    """
    import optuna

    asked, study_file = grid.study.trials or 0, grid.study
    # sqlite's transactions survive a kill at any point; a journal's half a line would not.
    study = optuna.create_study(
        storage=f"sqlite:///file:{quote(str(place / STORAGE))}?uri=true",
        study_name=study_file.name,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=NEVER_PRUNED),
        load_if_exists=True,
    )
    kept = study.user_attrs
    what = [
        grid.cells[0].recipe.to_yaml(),
        study_file.search,
        study_file.hold,
        study_file.seeds[0],
        study_file.objective,
    ]
    identity = sha256(json.dumps(what).encode()).hexdigest()
    remedy = "Name another place with --out."
    if kept.get("identity", identity) != identity:
        raise BadInput(
            Problem(str(place / STORAGE), "this study's base and space", "those of another search", remedy)
        )
    if kept.get("asked", asked) != asked:
        looked_at = [run.parent.name for run in place.glob("runs/*/manifest.json") if _looked_at(run.parent)]
        if looked_at:
            found = f"{kept['asked']} before, and test was looked at since"
            raise BadInput(Problem("trials", "as many as before", found, remedy))
    study.set_user_attr("identity", identity)
    study.set_user_attr("asked", asked)
    return study


def _looked_at(run: Path) -> bool:
    return RunDir(run).read_manifest().get(HELD_BACK) is False


def _sampler(seed: str, trials: int) -> optuna.samplers.BaseSampler:
    """Return a sampler of its own for one question, so that a trial's draws do not hang on who asked before."""
    import optuna

    return optuna.samplers.TPESampler(
        n_startup_trials=min(DRAWN_BLINDLY, max(1, trials // 3)),
        multivariate=False,  # ranges differ from trial to trial
        constant_liar=False,
        seed=int.from_bytes(sha256(seed.encode()).digest()[:4]),
    )
