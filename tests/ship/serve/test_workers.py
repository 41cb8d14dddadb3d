"""A server of several processes: they count together, one that dies is replaced, and all end with the server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from submillion import Run, notices
from submillion.ship.serve.options import ServeOptions

START = "from submillion.cli import main; main()"


def test_two_processes_serve_a_run(runs: tuple[Run, Run], tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", START, "serve", str(runs[0].path), "--port", "0", "--workers", "2"]
    with log.open("w", encoding="utf-8") as stream, subprocess.Popen(command, stderr=stream) as server:
        try:
            until(lambda: len(ready(log)) == 2, server)
            url = events(log)[0]["url"]
            first, second = ready(log)
            os.kill(first, signal.SIGKILL)
            until(lambda: len(workers(server) - {first}) == 2, server)
            answers = [ask(url) for _ in range(3)]  # each on a connection of its own
            answered_by(second, log)
            assert {answer.status_code for answer in answers} == {200}
            counted = re.search(
                r"^submillion_texts_total\{.*\} ([\d.]+)$", httpx.get(url + "/metrics").text, re.MULTILINE
            )
            assert counted is not None and float(counted[1]) == len(answers)
            left = workers(server)
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) == 0
    assert events(log)[-1]["event"] == "stopped"
    assert not [process for process in left if psutil.pid_exists(process)]


def test_a_process_of_a_run_that_has_changed_does_not_start(
    runs: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A process that replaces a dead one would answer differently from the others."""
    from submillion.ship.serve import run as serve_run
    from submillion.ship.serve.models import state_of

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(serve_run.logs, "configure", lambda: None)
    built: list[list[str]] = []
    monkeypatch.setattr(serve_run, "build", lambda places, _: built.append(places))
    copy = tmp_path / "first"
    shutil.copytree(runs[0].path, copy)
    states = {str(copy): state_of(copy)}
    options = ServeOptions(workers=2)
    (copy / "report.html").write_text("another page")
    serve_run.build_in_worker(states, options)
    assert built == [[str(copy)]]
    confidence = copy / "analysis" / "confidence.json"
    confidence.write_text(confidence.read_text().replace('"value": 2.0', '"value": 3.0'))
    with pytest.raises(SystemExit, match="3"):
        serve_run.build_in_worker(states, options)
    message = f"{copy}: expected the run that it was when the server started, found other files."
    assert message in capsys.readouterr().err
    assert len(built) == 1


def test_the_notices_of_the_processes_are_given_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from submillion.ship.serve import run as serve_run

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(serve_run.logs, "configure", lambda: None)
    monkeypatch.setattr(
        serve_run,
        "build",
        lambda *_: notices.emit("precision", "precision: int8 (requested, but not proven)"),
    )
    for _ in range(3):
        serve_run.build_in_worker({}, ServeOptions(workers=3))
    assert capsys.readouterr().err == "note: precision: int8 (requested, but not proven)\n"


def test_texts_that_waited_in_a_dead_process_wait_no_more(tmp_path: Path) -> None:
    script = """
import os, sys
from submillion.ship.serve.metrics import Metrics, forget_waiting
if child := os.fork():
    os.waitpid(child, 0)
    metrics = Metrics(lambda: 2)
    assert b"submillion_waiting_texts 7.0" in metrics.text()
    forget_waiting(child)
    print(metrics.text().decode())
else:
    metrics = Metrics(lambda: 5)
    metrics.texts("reviews", 3)
    metrics.text()
    os._exit(0)
"""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    text = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert "submillion_waiting_texts 2.0" in text
    assert 'submillion_texts_total{model="reviews"} 3.0' in text


def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    """The parent is killed, so that it cannot stop the process itself."""
    script = """
import multiprocessing, os, signal, time
from submillion.ship.serve.stopping import end_with_parent

def work():
    end_with_parent()
    print(os.getpid(), flush=True)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)

multiprocessing.get_context("fork").Process(target=work).start()
"""
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        assert parent.wait(20) == -signal.SIGKILL
        parent.stdout.read()  # ends when the process does, which holds the other end
    assert process != parent.pid
    assert time.monotonic() - began < 50


def test_processes_that_are_still_loading_end_at_once(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text("""
import os, sys, time
from uvicorn import Config
from submillion.ship.serve.stopping import Processes

def load():
    os.write(1, b"loading.")
    time.sleep(60)

if __name__ == "__main__":
    processes = Processes(Config(load, factory=True, workers=2, log_config=None), [])
    processes.run()
    sys.exit(processes.failed)
""")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.read(16) == b"loading." * 2
            began = time.monotonic()
            server.send_signal(signal.SIGTERM)
            assert server.wait(100) == 0
            assert time.monotonic() - began < 10
        finally:
            server.kill()


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTTIN", "SIGTTOU"])
def test_other_signals_have_their_usual_effect(name: str) -> None:
    from uvicorn import Config

    from submillion.ship.serve.stopping import Processes

    numbers = [*signal.valid_signals()]
    before = {one: signal.getsignal(one) for one in numbers}
    try:
        Processes(Config("none:app", workers=2), [])
        assert signal.getsignal(getattr(signal, name)) == before[getattr(signal, name)]
    finally:
        for one, handler in before.items():
            if signal.getsignal(one) != handler:
                signal.signal(one, handler)


def workers(server: subprocess.Popen[bytes]) -> set[int]:
    """Return the processes that the server has started for answers; multiprocessing starts another one for itself."""
    alive = [
        child for child in psutil.Process(server.pid).children() if child.status() != psutil.STATUS_ZOMBIE
    ]
    return {child.pid for child in alive if "spawn_main" in " ".join(child.cmdline())}


def ask(url: str) -> httpx.Response:
    return httpx.post(url + "/predict", json={"inputs": "some words"}, timeout=20)


def answered_by(process: int, log: Path) -> None:
    """Check that a process has answered a request."""
    assert process in {event["process"] for event in events(log) if event["event"] == "request"}


def events(log: Path) -> list[dict[str, object]]:
    lines = log.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def ready(log: Path) -> list[int]:
    """Return the processes that have begun to answer, in their order."""
    started = [event for event in events(log) if event["event"] == "Application startup complete."]
    return [event["process"] for event in started]


def until(holds: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while not holds():
        assert server.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
