"""Shared test set-up: the source tree on the path, no network, and a cache of its own for each test session."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from submillion import notices
from support import ROOT, TESTS
from support.plain_figures import use_plain_figures

SHARED_DATA = ROOT.parent / "shared" / "data"

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "agg")
# Processes of tests share the cores: a thread that waits must not keep one busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Dozens of processes import the package: the first one compiles it for all, where the environment forbids that too.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# How long an example takes depends on what else the machine does; it says nothing about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

DRAWN = ("report", "fuzz", "study/test_table.py", "test_training.py")
"""Tests whose figures are drawn; the others get small files in their place."""
LONGEST = (
    "test_kills.py",
    "native/test_native.py",
    "test_ray_cluster.py",
    "ship/export/web/test_web.py",
    "test_docs_blocks.py",
    "exporting/test_families.py",
    "test_pipeline.py",
    "test_estimator.py",
    "study/test_run.py",
    "model/execution/test_compiled.py",
    "report/test_figures.py",
    "report/test_accessibility.py",
    "model/test_plain_peft.py",
)
"""Files that take longest, the longest first."""


def pytest_collection() -> None:
    """Keep the garbage collector from walking through ever more imported modules and collected tests."""
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest files first: at the end no process is left alone with one of them."""
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Let it ignore them while the tests run."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Choose before the first fixture, which may train, whether figures are drawn."""
    use_plain_figures(not any(item.path.is_relative_to(TESTS / place) for place in DRAWN))


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all caches: pytest looks through the folders beside a new one for the next number."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(autouse=True)
def own_cache(caches: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a cache folder that no other run shares."""
    cache = Path(tempfile.mkdtemp(dir=caches))
    monkeypatch.setenv("SUBMILLION_CACHE", str(cache))
    return cache


@pytest.fixture(autouse=True)
def own_notices() -> Iterator[None]:
    """Collect the notices of each test on their own."""
    with notices.collecting():
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real data folder ../shared/data is not present")
    return SHARED_DATA
