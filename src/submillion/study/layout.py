"""Where the files of a study's runs lie in its directory, and the job that each run is."""

from __future__ import annotations

from pathlib import Path

import yaml

from submillion import pipeline
from submillion.atomic import atomic_file
from submillion.errors import BadInput, Problem
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.study.engines import Job
from submillion.study.grid import StudyFile, Trial


def run_of(place: Path, trial: Trial) -> Path:
    """Return a trial's run directory in the study's."""
    return place / "runs" / trial.name


def job_of(place: Path, trial: Trial) -> Job:
    """Write a trial's recipe and return its job.

    Raises:
        BadInput: a run of that name was made by another recipe.
    """
    recipe, run = pipeline.rooted(trial.recipe), run_of(place, trial)
    file = place / "recipes" / f"{trial.name}.yaml"
    made_by = RunDir(run).recipe
    if made_by.is_file() and Recipe.read(made_by.read_text(encoding="utf-8"), str(made_by)) != recipe:
        remedy = "Name another place with --out, or remove that run."
        raise BadInput(Problem(str(run), "a run of this study's recipe", "one of another recipe", remedy))
    write(file, recipe.to_yaml())
    return Job(trial.name, file, run, place / "logs" / f"{trial.name}.txt")


def finishing_job(place: Path, trial: Trial) -> Job:
    """Return the job that scores a trained run on test."""
    run = run_of(place, trial)
    return Job(f"{run.name} on test", None, run, place / "logs" / f"{run.name}.txt")


def keep_study(place: Path, study: StudyFile) -> None:
    """Write the study's file, defaults included, into its directory."""
    write(place / "study.yaml", yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False))


def write(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def last_line(log: Path) -> str:
    """Return the last line that a job printed."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
