"""A finished run on a tiny encoder for the tests of its checks: trained once, copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from submillion import pipeline
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.verification.run import checks
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
    """Return a copy of the run that the test may change."""
    shutil.copytree(project / "run", tmp_path / "run")
    return RunDir.open(tmp_path / "run")


@pytest.fixture
def without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the check `pages`, which draws all figures, where a test is about another check."""
    monkeypatch.setattr(checks, "CHECKS", [entry for entry in checks.CHECKS if entry[0] != "pages"])
