"""The directory of a study: where its files are, and the job of each run."""

from __future__ import annotations

import signal
from pathlib import Path

from submillion.errors import BadInput, Problem
from submillion.files import strict_yaml
from submillion.files.atomic import atomic_file
from submillion.rundir import RunDir
from submillion.study.cells import CellRun
from submillion.study.engines.job import Job
from submillion.study.study_file import StudyFile


def is_trained(run: Path) -> bool:
    """Return whether the training of a run is complete."""
    manifest = RunDir(run).manifest
    return manifest.is_file() and RunDir(run).read_json(manifest).get("status") == "complete"


def run_path(folder: Path, cell_run: CellRun) -> Path:
    """Return the directory of a run."""
    return folder / "runs" / cell_run.name


def training_job(folder: Path, cell_run: CellRun) -> Job:
    """Write the recipe of a run and return the job that trains it.

    Raises:
        BadInput: the run exists, with another recipe.
    """
    recipe, run = cell_run.recipe.with_absolute_paths(), RunDir(run_path(folder, cell_run))
    file = folder / "recipes" / f"{cell_run.name}.yaml"
    if run.recipe.is_file() and run.read_recipe() != recipe:
        remedy = "Choose another directory with @{out}, or remove that run."
        raise BadInput(Problem(str(run.path), "a run with this study's recipe", "another recipe", remedy))
    write(file, recipe.to_yaml())
    return Job(cell_run.name, file, run.path, folder / "logs" / f"{cell_run.name}.txt")


def scoring_job(folder: Path, cell_run: CellRun) -> Job:
    """Return the job that scores a trained run on test."""
    run = run_path(folder, cell_run)
    return Job(f"{run.name} on test", None, run, folder / "logs" / f"{run.name}.txt")


def write_study_file(folder: Path, study: StudyFile) -> None:
    """Write the study file with all defaults into the directory."""
    write(folder / "study.yaml", strict_yaml.dump(study.model_dump(mode="json")))


def write(file: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def failure(job: Job, exit_code: int) -> str:
    """Return why a job failed: the signal that ended its process, the last line that it printed, or its exit code."""
    if exit_code < 0:  # the last line is then a notice, or that of an earlier attempt
        name = (
            signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
        )
        memory = ", perhaps by the system for want of memory" if name == "SIGKILL" else ""
        return f"ended by {name}{memory}"
    text = job.log.read_text(encoding="utf-8", errors="replace") if job.log.is_file() else ""
    last = next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "")
    return last or f"exit code {exit_code}"
