"""The command `serve`: refusals before anything is loaded, the notice about an open server, and its end."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from submillion import Run, notices
from submillion.ship.serve import run as run_module
from submillion.ship.serve.models import named
from submillion.ship.serve.options import ServeOptions
from support.command import submillion

START = "from submillion.cli import main; main()"


def test_a_port_in_use_is_refused(runs: tuple[Run, Run], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = submillion("serve", runs[0].path, "--port", port, cwd=tmp_path)
    assert ended.returncode == 2
    assert f"found {port} (Address already in use). Choose another with --port." in ended.stderr


def test_two_runs_of_one_name_are_refused(runs: tuple[Run, Run], tmp_path: Path) -> None:
    ended = submillion("serve", runs[0].path, runs[0].path, cwd=tmp_path)
    assert ended.returncode == 2
    assert "found 'first' twice" in ended.stderr


def test_a_run_has_the_name_of_its_directory_however_it_is_written(
    runs: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "linked").symlink_to(runs[0].path)
    monkeypatch.chdir(runs[0].path / "analysis")
    for path in ("..", "../", runs[0].path / "analysis" / ".."):
        assert list(named([path])) == ["first"]
    assert list(named([tmp_path / "linked"])) == ["linked"]


def test_an_unfinished_run_is_refused(runs: tuple[Run, Run], tmp_path: Path) -> None:
    shutil.copytree(runs[0].path, tmp_path / "run")
    file = tmp_path / "run" / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8")) | {"status": "interrupted"}
    file.write_text(json.dumps(manifest), encoding="utf-8")
    ended = submillion("serve", tmp_path / "run", cwd=tmp_path)
    assert ended.returncode == 2
    assert "expected a finished run, found one that is interrupted" in ended.stderr


@pytest.mark.parametrize("content", ["", "short", "two words that are long", "ümlaute-sind-kein-ascii"])
def test_a_token_file_without_a_token_is_refused(runs: tuple[Run, Run], tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content, encoding="utf-8")
    ended = submillion("serve", runs[0].path, "--token-file", tmp_path / "token", cwd=tmp_path)
    assert ended.returncode == 2
    assert "one line of at least 16 visible ASCII characters" in ended.stderr
    assert not content or content not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", 70000], "--port: expected a number from 0 to 65,535, found 70,000"),
        (["--max-queue", 10], "--max-queue: expected at least the 256 of --max-texts, found 10"),
        (["--host", "192.0.2.1"], "--host: expected an address of this machine"),
        (["--workers", 0], "--workers: expected a number from 1"),
    ],
)
def test_impossible_options_are_refused(
    runs: tuple[Run, Run], tmp_path: Path, arguments: list[object], message: str
) -> None:
    ended = submillion("serve", runs[0].path, *arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "no token is set" not in ended.stderr


def test_a_missing_extra_is_named(
    runs: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "find_spec", lambda name: None)
    ended = submillion("serve", runs[0].path, cwd=tmp_path)
    assert ended.returncode == 2
    assert 'pip install "submillion[serve]"' in ended.stderr


@pytest.mark.parametrize(("token", "warned"), [(False, True), (True, False)])
def test_a_server_that_others_can_reach_is_warned_about_without_a_token(
    runs: tuple[Run, Run],
    token_file: Path,
    token: bool,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_module, "_serve_here", lambda *_: None)
    with notices.collecting(quiet=True):
        options = ServeOptions(host="0.0.0.0", port=0)
        run_module.serve([runs[0].path], options, token_file if token else None)
        codes = [notice["code"] for notice in notices.collected()]
    assert ("open_server" in codes) is warned


def test_sigterm_finishes_accepted_requests(runs: tuple[Run, Run], tmp_path: Path) -> None:
    """A request that is being classified is answered, a half-sent body is not waited for, and the exit code is 0."""
    command = [sys.executable, "-c", START, "serve", str(runs[0].path), "--port", "0"]
    with (
        (tmp_path / "log").open("w+", encoding="utf-8") as log,
        subprocess.Popen(command, stderr=log, cwd=tmp_path) as server,
    ):
        url = _url_in(tmp_path / "log", server)
        answers: list[httpx.Response] = []
        ask = threading.Thread(
            target=lambda: answers.append(
                httpx.post(url + "/predict", json={"inputs": [["some words " * 40]] * 256}, timeout=20)
            )
        )
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as half:
            half.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
            ask.start()
            time.sleep(0.2)
            server.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert b" 503 " in half.recv(1000)
        ask.join()
        assert server.wait(15) == 0
        assert time.monotonic() - began < 10
    assert answers[0].status_code == 200
    assert len(answers[0].json()) == 256
    assert '"event": "stopped"' in (tmp_path / "log").read_text(encoding="utf-8")


def _url_in(log: Path, server: subprocess.Popen[bytes]) -> str:
    """Return the URL that a server logs, once it answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and (event := json.loads(line))["event"] == "serving":
                url: str = event["url"]
                if httpx.get(url + "/health", timeout=30).status_code == 200:
                    return url
        time.sleep(0.1)
    raise AssertionError(log.read_text(encoding="utf-8"))
