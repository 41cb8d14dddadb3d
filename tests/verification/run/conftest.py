"""A finished run on a tiny encoder for the tests of its checks: trained once, copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from submillion import pipeline
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.verification.run import case, checks, retraining
from submillion.verification.run.retraining import Retrained
from support.tiny_project import make_project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny encoder, data, and one finished run on them."""
    home = make_project(tmp_path_factory.mktemp("project"))
    recipe = Recipe.load(home / "tiny.yaml", [f"data.test={home / 'test.csv'}"])
    pipeline.train(recipe, home / "run", quiet=True)
    return home


@pytest.fixture
def run(project: Path, tmp_path: Path) -> RunDir:
    """Return a copy of the run that the test may change, beside copies of its encoder and data."""
    shutil.copytree(project, tmp_path / "project")
    return RunDir.open(tmp_path / "project" / "run")


@pytest.fixture
def without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the check `pages`, which draws all figures, where a test is about another check."""
    monkeypatch.setattr(checks, "CHECKS", [entry for entry in checks.CHECKS if entry[0] != "pages"])


@pytest.fixture(scope="session")
def trainings() -> dict[str, Retrained]:
    """Return the trainings that `trained_once` has repeated in this session, by recipe."""
    return {}


@pytest.fixture
def trained_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, trainings: dict[str, Retrained]
) -> None:
    """Repeat the training of each recipe once, without its report; only what is compared with it changes."""
    train_again: Callable[..., Retrained] = retraining.train_again
    monkeypatch.setattr("submillion.reporting.write_report", lambda path: None)

    def once(run: RunDir, manifest: Any, recipe: Recipe, scratch: Path, progress: bool) -> Retrained:
        fields = recipe.with_sources(lambda source: Path(source).name)
        key = f"{fields.to_yaml()}{manifest['machine'].get('threads')}"
        if key not in trainings:
            kept = tmp_path_factory.mktemp("retrained")
            trainings[key] = train_again(run, manifest, recipe, kept, progress)
        made = trainings[key].run
        differing = retraining.differing_arithmetic(manifest, made.read_manifest())
        return Retrained(made, differing)

    monkeypatch.setattr(case, "train_again", once)
