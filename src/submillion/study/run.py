"""A study, top to bottom: cells -> runs that are missing -> table and findings -> test, for two of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion import notices, pipeline
from submillion.cache import locked
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.rundir import RunDir
from submillion.study import table
from submillion.study.engines import ENGINES, Job, open_engine
from submillion.study.findings import judge, on_test
from submillion.study.grid import BASE, Cell, Grid, Trial, read_study
from submillion.study.layout import finishing_job, job_of, keep_study, last_line, run_of
from submillion.study.progress import Progress
from submillion.study.worker import is_done

if TYPE_CHECKING:
    from submillion.study.search import Searched


@dataclass(frozen=True)
class Outcome:
    """What a study found, and where it lies."""

    path: Path
    found: dict[str, Any]
    failed: dict[str, str]
    """Run -> what its process said last."""

    def to_json(self) -> dict[str, Any]:
        """Return the findings as in study.json, the place and the failed runs."""
        return self.found | {"path": str(self.path), "failed": self.failed}

    def render(self) -> str:
        """Return the table, a sentence per effect, what test said, and where everything is."""
        lines = [table.as_text(self.found), ""]
        lines += [f"- {sentence}" for sentence in table.sentences(self.found)]
        lines += [f"failed: {name}: {said}" for name, said in self.failed.items()]
        return "\n".join([*lines, f"study: {self.path}"])


def study(
    name_or_path: str | Path,
    out: str | Path | None = None,
    engine: str = "local",
    workers: int | None = None,
    threads: int | None = None,
    overrides: Sequence[str] = (),
    quiet: bool = False,
) -> Outcome:
    """Train every run of a study that is not trained yet, then judge it.

    The state of a study is its run directories: killed anywhere, the same call goes on and redoes nothing.

    Args:
        name_or_path: a study file, or the name of a shipped one.
        out: directory of the study; None is studies/NAME.
        engine: where runs are trained, one of `engines.ENGINES`.
        workers: runs at a time.
        threads: of each run.
        overrides: fields of the base recipe, as `--set` takes them.
        quiet: no progress on standard error.

    Raises:
        BadInput: the file is wrong, another study lies in `out`, or another process is at work on it.
        OverBudget: a cell trains more than the budget allows.
    """
    if engine not in ENGINES:
        raise BadInput(
            Problem("--engine", f"one of {', '.join(ENGINES)}", f"'{engine}'", did_you_mean(engine, ENGINES))
        )
    grid = read_study(name_or_path, overrides)
    place = Path(out or Path("studies") / grid.study.name)
    place.mkdir(parents=True, exist_ok=True)
    try:
        with locked(place / ".lock", wait=False):
            return _conduct(grid, place.resolve(), engine, workers, threads, quiet)
    except BlockingIOError as error:
        remedy = "Wait for it, or name another place with --out."
        raise BadInput(
            Problem(str(place), "a study that is at rest", "one that is under way", remedy)
        ) from error


def _conduct(
    grid: Grid, place: Path, engine: str, workers: int | None, threads: int | None, quiet: bool
) -> Outcome:
    failed, searched = dict[str, str](), None
    # Of a search's winner the first seed is among its trials.
    total = (grid.study.trials or 0) + 2 * len(grid.study.seeds) - 1 if grid.space else len(grid.trials)
    with Progress(total, quiet) as progress:
        if grid.space is not None:
            searched = _search(grid, place, engine, workers, threads, progress)
            grid, failed = searched.grid, searched.failed
        if not failed:
            jobs = [job_of(place, trial) for trial in grid.trials]
            keep_study(place, grid.study)
            waiting = [job for job in jobs if not is_done(job.run)]
            told_already = len(grid.judged) if searched else 0
            progress.had(len(jobs) - len(waiting) - told_already)
            failed = _train(waiting, engine, workers, threads, progress)
        cells = [cell for cell in grid.cells if searched is None or cell.name in searched.trained]
        found = judge(grid, _runs(cells, grid.study.seeds, place))
        if searched is not None:
            found = searched.added_to(found)
        if not failed and found["winner"]:
            failed = _finish(grid, place, found, engine, workers, threads, progress)
    table.write(found, place)
    return Outcome(place, found, failed)


def _search(
    grid: Grid, place: Path, engine: str, workers: int | None, threads: int | None, progress: Progress
) -> Searched:
    from submillion.study.search import search

    if workers is not None and workers > 1:
        notices.emit("search_workers", "A search trains one run at a time: each is drawn from those before.")
    return search(grid, place, open_engine(engine, 1, threads), progress)


def _train(
    jobs: Iterable[Job], engine: str, workers: int | None, threads: int | None, progress: Progress
) -> dict[str, str]:
    """Give the jobs to an engine; return those that failed, with the last line that they printed."""
    failed: dict[str, str] = {}
    if not (waiting := list(jobs)):
        return failed
    for ended in open_engine(engine, workers, threads).run(waiting, progress.tick):
        if ended.code:
            failed[ended.job.name] = last_line(ended.job.log) or f"exit code {ended.code}"
        progress.ended(ended)
    return failed


def _finish(
    grid: Grid,
    place: Path,
    found: dict[str, Any],
    engine: str,
    workers: int | None,
    threads: int | None,
    progress: Progress,
) -> dict[str, str]:
    """Score winner and base on test, each with every seed, compare them, and add that to what was found."""
    names = list(dict.fromkeys([BASE, found["winner"]]))
    chosen = [trial for trial in grid.trials if trial.cell.name in names]
    runs = [run_of(place, trial) for trial in chosen]
    if "test" not in RunDir(runs[0]).read_manifest()["data"]["splits"]:
        return {}
    jobs = [
        finishing_job(place, trial)
        for trial, run in zip(chosen, runs, strict=True)
        if RunDir(run).read_manifest().get(pipeline.HELD_BACK)
    ]
    if failed := _train(jobs, engine, workers, threads, progress):
        return failed
    found["test"] = {
        trial.name: {
            measure: RunDir(run).read_json(RunDir(run).metrics)["test"][measure]
            for measure in ("accuracy", "macro_f1")
        }
        for trial, run in zip(chosen, runs, strict=True)
    }
    if len(names) > 1:
        scores = {
            (trial.cell.name, trial.seed): found["test"][trial.name][grid.study.objective] for trial in chosen
        }
        found["test_effect"] = on_test(grid, scores, found["winner"])
    return {}


def _runs(cells: Iterable[Cell], seeds: Iterable[int], place: Path) -> dict[tuple[str, int], RunDir]:
    """Return the runs that are trained to their end."""
    trials = [Trial(cell, seed) for cell, seed in itertools.product(cells, seeds)]
    places = {(trial.cell.name, trial.seed): run_of(place, trial) for trial in trials}
    return {key: RunDir(run) for key, run in places.items() if is_done(run)}
