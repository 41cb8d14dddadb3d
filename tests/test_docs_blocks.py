"""Every command and every Python block of README.md and docs/ runs, on tiny stand-ins; the others name their reason."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import submillion
from support.documented import make_home, stand_ins
from support.pages import PAGES, PYTHON, SHELL, blocks_of
from support.reader import Reader

EXECUTED = [
    page for page in PAGES if any(_.reason is None and _.language in (SHELL, PYTHON) for _ in blocks_of(page))
]
NEVER_EXECUTED = {"text", "yaml", "{toctree}", "{include}", "{literalinclude}", "{eval-rst}"}
MOST_REASONS = 24
"""Blocks that no test executes; whoever adds one weighs it here."""
TRAINING = {"README.md", "docs/index.md", "docs/python.md", "docs/verify.md"}
"""Pages whose trainings run to their end; on the others, everything that a training can refuse is checked."""
TRAINED = {
    "runs/reviews": ["reviews.csv", "--encoder", "minilm"],
    "runs/mine": ["my/train.csv", "--test", "my/test.csv", "--set", "data.validation=held-out.csv"],
    "runs/agnews": ["agnews-reference"],
    "studies/ranks/r8": ["agnews-reference", "--set", "lora.r=8"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages name, and finished runs."""
    home = tmp_path_factory.mktemp("reader")
    make_home(home)
    with stand_ins(home) as patch:
        patch.setenv("SUBMILLION_CACHE", str(home / "cache"))
        for run, words in TRAINED.items():
            assert submillion("train", *words, "--out", run, cwd=home).returncode == 0
    return home


@pytest.fixture
def folder(home: Path, tmp_path: Path, own_cache: Path) -> Path:
    """A working folder of its own for a page."""
    folder = tmp_path / "reader"
    shutil.copytree(home, folder, symlinks=True, ignore=shutil.ignore_patterns("cache", "encoders"))
    return folder


@pytest.fixture
def reader(page: str, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with stand_ins(home, trains=page in TRAINING) as patch, Reader(folder, home, patch) as reader:
        yield reader


def check_readme(reader: Reader, printed: str) -> None:
    frame = reader.names["frame"]
    assert set(frame.columns) == {"text", "label", "confidence"}
    assert frame["confidence"].between(0.25, 1).all()


def check_python_page(reader: Reader, printed: str) -> None:
    assert "998,404 trainable" in printed
    assert "lora.rank" in printed
    assert reader.names["probabilities"].shape == (3, 4)
    assert reader.names["verdict"].holds is True
    assert {check.holds for check in reader.names["verdict"].checks if check.name == "data"} == {True}
    assert (reader.folder / "runs" / "best" / "manifest.json").is_file()


RESULTS = {"README.md": check_readme, "docs/python.md": check_python_page}


@pytest.mark.parametrize("page", EXECUTED)
def test_blocks_run(page: str, reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    other = "reviews" if "runs/reviews" in "".join(block.content for block in blocks_of(page)) else "mine"
    shutil.copytree(reader.folder / "runs" / other, reader.folder / "runs" / "other")
    for block in blocks_of(page):
        if block.reason is None and block.language in (SHELL, PYTHON):
            try:
                reader.copy(block)
            except Exception as error:
                error.add_note(f"in the block {block.place}")
                raise
    if page in RESULTS:
        RESULTS[page](reader, capsys.readouterr().out)


def test_blocks_that_no_test_executes() -> None:
    left = [block for page in PAGES for block in blocks_of(page) if block.reason is not None]
    assert all(block.language not in NEVER_EXECUTED for block in left)
    assert len(left) <= MOST_REASONS, [block.place for block in left]


@pytest.mark.parametrize("page", PAGES)
def test_every_other_block_has_a_language_that_is_not_executed(page: str) -> None:
    languages = {block.language for block in blocks_of(page) if block.reason is None}
    assert languages <= NEVER_EXECUTED | {SHELL, PYTHON}
