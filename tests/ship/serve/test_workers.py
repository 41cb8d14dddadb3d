"""A server of several processes: they count together, one that dies is replaced, and all end with the server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from submillion import Run

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
