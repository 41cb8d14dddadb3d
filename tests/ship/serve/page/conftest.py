"""A server of two runs and a browser with its page, for all tests of the page."""

from __future__ import annotations

import csv
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from submillion.ship.serve.models import open_runs
from submillion.ship.serve.options import ServeOptions
from support.analysis import confidence_of
from support.browser import TIMEOUT, chromium
from support.trained import trained_in, two_classes

TEMPERATURE = {
    "value": 4.0,
    "at_bound": False,
    "low": 3.0,
    "high": 5.0,
    "confidence_level": 0.95,
    "rows": 100,
    "test": None,
}
WIDE = {"width": 1280, "height": 900}


class Served:
    """The app in a thread of this process."""

    def __init__(self, *runs: Path, **options: Any) -> None:
        uvicorn = pytest.importorskip("uvicorn")
        from submillion.ship.serve.app import create_app

        app = create_app(open_runs(runs), ServeOptions(**options))
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


# Of a module, because the browser's event loop runs in this thread, where other tests start their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def run(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(trained_in(tmp_path_factory.mktemp("page")).path)
    (path / "analysis" / "confidence.json").unlink(missing_ok=True)
    return path


@pytest.fixture(scope="module")
def calibrated(run: Path) -> Path:
    """The same run with a temperature."""
    copy = run.with_name("calibrated")
    shutil.copytree(run, copy)
    analysis = confidence_of(0.9, None) | {"temperature": TEMPERATURE}
    (copy / "analysis" / "confidence.json").write_text(json.dumps(analysis), encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def url(run: Path, calibrated: Path) -> Iterator[str]:
    served = Served(run, calibrated)
    yield served.url
    served.stop()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return two_classes(40, seed=7)[0]


@pytest.fixture
def opened(browser: Any, url: str) -> Iterator[Any]:
    page = browser.new_page(viewport=WIDE, accept_downloads=True)
    page.set_default_timeout(TIMEOUT)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: problems.append(message.text) if "Content Security" in message.text else None,
    )
    page.goto(url)
    page.wait_for_selector("#work:not([hidden])")
    yield page
    page.close()
    assert problems == []


@pytest.fixture(scope="module")
def serve() -> Callable[..., Served]:
    """Start a server of its own; the test stops it."""
    return Served


@pytest.fixture
def csv_file(tmp_path: Path, texts: list[str]) -> Callable[..., Path]:
    """Write a csv file whose texts have quotes, separators and line breaks, and whose notes are formulas."""

    def write(name: str, rows: int, separator: str = ";", cells: Sequence[str] = texts) -> Path:
        with (tmp_path / name).open("w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.writer(stream, delimiter=separator)
            writer.writerow(["id", "text", "note"])
            writer.writerows(
                [row, f'{cells[row % len(cells)]} "{row}"{separator}\nend', "=1+1"] for row in range(rows)
            )
        return tmp_path / name

    return write
