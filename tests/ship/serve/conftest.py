"""Two tiny runs on one encoder, served on a port of this machine by a thread of the tests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from submillion import Run
from submillion.ship.serve.models import ServedRun, open_runs
from submillion.ship.serve.options import ServeOptions
from support.analysis import confidence_of
from support.server import running_in_thread
from support.trained import recipe_in, trained_in, two_classes

LIMITS = ServeOptions(port=0, max_texts=40, max_characters=2000, max_body_bytes=20_000, max_queue=400)
TEMPERATURE = {
    "value": 2.0,
    "at_bound": False,
    "low": 1.5,
    "high": 2.5,
    "confidence_level": 0.95,
    "rows": 100,
    "test": None,
}
NO_TLS = False
"""Clients of a server without TLS do not load the list of authorities, which takes longer than a request."""
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="package")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """`first` has a temperature and an abstain policy; `second` has neither, and another seed."""
    import submillion

    home = tmp_path_factory.mktemp("served")
    texts, labels = two_classes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUBMILLION_CACHE", str(home / "cache"))
        first = trained_in(home)
        first.path.rename(home / "first")
        recipe = recipe_in(home, seed=7)
        submillion.train(recipe, home / "second", texts=texts, labels=labels, quiet=True)
    analysis = home / "first" / "analysis" / "confidence.json"
    analysis.write_text(json.dumps(confidence_of(0.9, 0.6) | {"temperature": TEMPERATURE}), encoding="utf-8")
    (home / "second" / "analysis" / "confidence.json").unlink(missing_ok=True)
    return Run(home / "first"), Run(home / "second")


@pytest.fixture(scope="package")
def served(runs: tuple[Run, Run]) -> list[ServedRun]:
    return open_runs([run.path for run in runs])


@pytest.fixture(scope="package")
def url(served: list[ServedRun]) -> Iterator[str]:
    from submillion.ship.serve.app import create_app

    with running_in_thread(create_app(served, LIMITS), LIMITS) as address:
        yield address


@pytest.fixture(scope="package")
def guarded_url(served: list[ServedRun]) -> Iterator[str]:
    """A server that asks for TOKEN."""
    from submillion.ship.serve.app import create_app

    options = replace(LIMITS, token=TOKEN)
    with running_in_thread(create_app(served, options), options) as address:
        yield address


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=20, verify=NO_TLS) as client:
        yield client


@pytest.fixture
def others_are_served(url: str) -> Iterator[None]:
    """Another client asks the server during the test; check that it gets all its answers."""
    ended, times, statuses = threading.Event(), [], set()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=10, verify=NO_TLS) as client:
            while not ended.is_set() or not times:
                began = time.monotonic()
                statuses.add(client.post("/predict", json={"inputs": "a text"}).status_code)
                times.append(time.monotonic() - began)

    other = threading.Thread(target=ask)
    other.start()
    try:
        yield
    finally:
        ended.set()
        other.join()
    assert statuses == {200}
    assert max(times) < 5  # the others' limits are ten seconds and more


@pytest.fixture
def texts() -> list[str]:
    return two_classes(12, seed=5)[0]


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n", encoding="ascii")
    return file
