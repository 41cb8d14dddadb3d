"""Runs a study: reads its design, trains the missing runs, compares the cells, and scores two of them on test."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion import notices
from submillion.cache import locked
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.rundir import RunDir
from submillion.study import outputs
from submillion.study.cells import BASE, Cell, CellRun
from submillion.study.design import StudyDesign, read_study
from submillion.study.engines.choose import ENGINES, EngineOptions, open_engine
from submillion.study.engines.job import Job
from submillion.study.findings import compare_on_test, compute_findings
from submillion.study.layout import failure, is_trained, run_path, scoring_job, training_job, write_study_file
from submillion.study.place import LOCK, check_place
from submillion.study.progress import StudyProgress
from submillion.study.same_rows import fingerprint, rows_differ
from submillion.study.sentences import sentences
from submillion.study.table import as_text
from submillion.wording import listed, printable

if TYPE_CHECKING:
    from submillion.study.search import SearchResult


@dataclass(frozen=True)
class Outcome:
    """The findings of a study and its failed runs."""

    path: Path
    """The study's directory."""
    findings: dict[str, Any]
    failed: dict[str, str]
    """Run -> the last line of its process."""

    def to_json(self) -> dict[str, Any]:
        """Return the findings as in study.json, the directory and the failed runs."""
        return self.findings | {"path": str(self.path), "failed": self.failed}

    def render(self) -> str:
        """Return the table, the findings in sentences, the failed runs and the directory."""
        lines = [*as_text(self.findings).split("\n"), ""]
        lines += [f"- {sentence}" for sentence in sentences(self.findings)]
        lines += [f"failed: {name}: {reason}" for name, reason in self.failed.items()]
        return "\n".join(map(printable, [*lines, f"study: {self.path}"]))


def study(
    name_or_path: str | Path,
    out: str | Path | None = None,
    engine: str = "local",
    workers: int | None = None,
    threads: int | None = None,
    overrides: Sequence[str] = (),
    quiet: bool = False,
) -> Outcome:
    """Train all runs of a study that are not trained yet, then compare its cells.

    The state of a study is its run directories: after an interruption of any kind, the same call continues and
    repeats nothing.

    Args:
        name_or_path: name of a shipped study, or a study file.
        out: directory of the study; None is studies/NAME.
        engine: one of `engines.choose.ENGINES`.
        workers: runs at a time.
        threads: threads of each run.
        overrides: fields of the base recipe, each `section.key=value`.
        quiet: show no progress on standard error.

    Raises:
        BadInput: the study file is wrong, `out` cannot be a study's directory or holds runs of another study, or
            another process is running the study.
        OverBudget: a cell trains more parameters than the budget allows.
    """
    if engine not in ENGINES:
        raise BadInput(
            Problem("@{engine}", f"one of {', '.join(ENGINES)}", f"'{engine}'", did_you_mean(engine, ENGINES))
        )
    design = read_study(name_or_path, overrides)
    folder = check_place(out or Path("studies") / design.study.name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / LOCK, wait=False):
            return _run_study(design, folder.resolve(), EngineOptions(engine, workers, threads), quiet)
    except BlockingIOError as error:
        remedy = "Wait for that process to end, or choose another directory with @{out}."
        raise BadInput(
            Problem(str(folder), "a study that no other process is running", "a running study", remedy)
        ) from error


def _run_study(design: StudyDesign, folder: Path, engine: EngineOptions, quiet: bool) -> Outcome:
    seeds = design.study.seeds
    # The trials of a search include the run of its best cell with the first seed.
    total = (design.study.trials or 0) + 2 * len(seeds) - 1 if design.space else len(design.runs)
    failed, result = dict[str, str](), None
    with StudyProgress(total, quiet) as progress:
        if design.space is not None:
            result = _search(design, folder, engine, progress)
            design, failed = result.design, result.failed
        if not failed:
            jobs = [training_job(folder, cell_run) for cell_run in design.runs]
            write_study_file(folder, design.study)
            missing = [job for job in jobs if not is_trained(job.run)]
            counted_by_search = len(design.compared) if result else 0
            progress.add_done(len(jobs) - len(missing) - counted_by_search)
            failed = _run_jobs(missing, engine, progress)
        cells = [cell for cell in design.cells if result is None or cell.name in result.trained]
        trained = _trained_runs(cells, seeds, folder)
        findings = compute_findings(design, trained)
        if rows_differ(trained, "validation"):
            findings["rows_differ"] = ["validation"]
        if result is not None:
            findings = result.add_to(findings)
        if not failed and findings["winner"]:
            failed = _score_on_test(design, folder, findings, engine, progress)
    outputs.write_outputs(findings, folder)
    return Outcome(folder, findings, failed)


def _search(
    design: StudyDesign, folder: Path, engine: EngineOptions, progress: StudyProgress
) -> SearchResult:
    """Run the search of a study.

    Raises:
        BadInput: optuna is not installed, or the directory holds another search.
    """
    try:
        importlib.import_module("optuna")
    except ImportError as error:
        raise BadInput(
            Problem("search", "the package optuna", "none", "pip install 'submillion[search]'")
        ) from error
    from submillion.study.search import search  # noqa: PLC0415 - needs optuna, an optional extra

    if engine.workers is not None and engine.workers > 1:
        notices.emit(
            "search_workers",
            "A search trains one run at a time, because each draw depends on earlier trials.",
        )
    return search(design, folder, open_engine(replace(engine, workers=1)), progress)


def _run_jobs(jobs: Iterable[Job], engine: EngineOptions, progress: StudyProgress) -> dict[str, str]:
    """Run jobs; return those that failed, with the last line that they printed."""
    failed: dict[str, str] = {}
    if not (waiting := list(jobs)):
        return failed
    for finished in open_engine(engine).run(waiting, progress.tick):
        if finished.exit_code:
            failed[finished.job.name] = failure(finished.job, finished.exit_code)
        progress.finish(finished)
    return failed


def _score_on_test(
    design: StudyDesign,
    folder: Path,
    findings: dict[str, Any],
    engine: EngineOptions,
    progress: StudyProgress,
) -> dict[str, str]:
    """Score the runs of the winner and the base on test, and add their scores and difference to the findings."""
    winner = findings["winner"]
    tested = [
        (cell_run, RunDir(run_path(folder, cell_run)))
        for cell_run in design.runs
        if cell_run.cell.name in (BASE, winner)
    ]
    without = [cell_run.name for cell_run, run in tested if fingerprint(run, "test") is None]
    if without:
        if len(without) < len(tested):
            text = f"No run is scored on test: {listed(without)} has no test rows, and both cells need them."
            notices.emit("no_test", text)
        return {}
    if rows_differ({(cell_run.cell.name, cell_run.seed): run for cell_run, run in tested}, "test"):
        findings["rows_differ"] = [*findings.get("rows_differ", []), "test"]
    jobs = [
        scoring_job(folder, cell_run) for cell_run, run in tested if run.read_manifest().get("test_held_back")
    ]
    if failed := _run_jobs(jobs, engine, progress):
        return failed
    findings["test"] = {
        cell_run.name: {
            measure: run.read_json(run.metrics)["test"][measure] for measure in ("accuracy", "macro_f1")
        }
        for cell_run, run in tested
    }
    if winner != BASE:
        scores = {
            (cell_run.cell.name, cell_run.seed): findings["test"][cell_run.name][design.study.objective]
            for cell_run, _ in tested
        }
        findings["test_effect"] = compare_on_test(design, scores, winner)
    return {}


def _trained_runs(cells: Iterable[Cell], seeds: Iterable[int], folder: Path) -> dict[tuple[str, int], RunDir]:
    """Return the trained runs by name of the cell and seed."""
    cell_runs = [CellRun(cell, seed) for cell, seed in itertools.product(cells, seeds)]
    runs = {(cell_run.cell.name, cell_run.seed): run_path(folder, cell_run) for cell_run in cell_runs}
    return {key: RunDir(run) for key, run in runs.items() if is_trained(run)}
