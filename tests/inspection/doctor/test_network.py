"""Tests of the doctor's questions to the network: they end in time, and no private host is named."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from submillion.inspection.doctor import network
from submillion.inspection.doctor.network import ask_hub, ask_registry, examine_network


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Serve the status code in the list in place of the hub."""
    status = [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as opened:
        thread = threading.Thread(target=opened.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{opened.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield status
        opened.shutdown()


def test_a_hub_that_answers_and_one_that_fails(server: list[int]) -> None:
    assert ask_hub() == ""
    server[0] = 404
    assert ask_hub() == ""
    server[0] = 503
    assert ask_hub() == "answers with error 503"


def test_a_hub_that_is_not_there_is_named_by_its_error_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://secret.invalid:1")
    section = examine_network(offline=False, registry=lambda: "")
    assert section.facts["hub"].startswith("a host that HF_ENDPOINT names, no answer (")
    assert "secret" not in str(section)
    assert [trouble.prevents_training for trouble in section.troubles] == [False]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert ask_hub() == "not asked: HF_HUB_OFFLINE is set"


def test_a_question_without_an_answer_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "DEADLINE_S", -0.9)  # a second is added for the thread itself
    asked = threading.Event()
    section = examine_network(offline=False, hub=lambda: str(asked.wait(300)), registry=lambda: "")
    asked.set()
    assert "no answer within" in section.facts["hub"]
    assert "answers in" in section.facts["package registry"]


def test_offline_nothing_is_asked() -> None:
    def fail() -> str:
        raise AssertionError("asked")

    section = examine_network(offline=True, hub=fail, registry=fail)
    assert section.facts["asked"] == "no (offline)"
    assert section.troubles == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 0", ""),
        ("echo 'ERROR: No matching distribution found for x' >&2; exit 1", "does not have the packages"),
        ("echo 'Connection to https://user:pw@secret.example failed' >&2; exit 1", "no answer"),
        ("echo 'python: No module named pip' >&2; exit 1", "pip is not installed"),
        ("sleep 9", "no answer within"),
    ],
)
def test_what_pip_says_becomes_a_reason_without_hosts(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    from pathlib import Path

    python = Path(str(tmp_path)) / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(network.sys, "executable", str(python))
    monkeypatch.setattr(network, "DEADLINE_S", 0.5)
    answer = ask_registry()
    assert reason in answer
    assert bool(answer) == bool(reason)
    assert "secret" not in answer
