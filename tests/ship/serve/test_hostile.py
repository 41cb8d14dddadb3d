"""Hostile clients get one clear error each, and no other client notices them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from submillion.model.infer import predict_logits
from submillion.ship.serve import batcher, service
from submillion.ship.serve.app import create_app
from submillion.ship.serve.limits import Bodies
from submillion.ship.serve.models import ServedRun
from submillion.ship.serve.options import ServeOptions
from support.server import running_in_thread

LIMITS = ServeOptions(port=0)
V2_BODY = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a text"]}]}
BINARY_TEXT = {"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}
JSON_OF_BINARY = json.dumps({"inputs": [BINARY_TEXT]}).encode()
V2_BINARY: Any = {
    "content": JSON_OF_BINARY + b"\x01\0\0\0a",
    "headers": {"Inference-Header-Content-Length": str(len(JSON_OF_BINARY))},
}
NOT_JSON = b'{"inputs": "a'
BODIES = {
    "broken": (NOT_JSON, "not JSON"),
    "nan": (b'{"inputs": NaN}', "found NaN"),
    "infinity": (b'{"inputs": "a", "raw_scores": -Infinity}', "found -Infinity"),
    "control": (b'{"inputs": "a\x00b"}', "not JSON"),
    "escaped_surrogate": (rb'{"inputs": "\ud800"}', "half of a surrogate pair"),
    "encoded_surrogate": (b'{"inputs": "\xed\xa0\x80"}', "not in utf-8"),
    "deep": (b'{"inputs": ' + b"[" * 5000 + b"]" * 5000 + b"}", "at most 64 levels"),
    "twice": (b'{"inputs": "a", "inputs": "b"}', "'inputs' twice"),
    "number": (b'{"inputs": 1}', "expected a string"),
    "mixed": (b'{"inputs": [["a"], [1]]}', "list of strings"),
    "wrong_type": (b'{"inputs": "a", "truncate": "yes"}', "`truncate`"),
    "unknown": (b'{"inputs": "a", "colour": "red"}', "`colour`: there is no such field"),
    "array": (b'["a"]', "a JSON object"),
    "empty": (b"", "not JSON"),
    "no_texts": (b'{"inputs": []}', "cannot be empty"),
    "long_number": (b'{"inputs": ' + b"9" * 5000 + b"}", "64 bits"),
}


@pytest.mark.usefixtures("others_are_served")
@pytest.mark.parametrize("path", ["/predict", "/", "/classify", "/v2/models/first/infer"])
@pytest.mark.parametrize("case", BODIES)
def test_a_bad_body_gets_one_clear_error(http: httpx.Client, path: str, case: str) -> None:
    body, message = BODIES[case]
    answer = http.post(path, content=body)
    assert answer.status_code == 422
    assert set(answer.json()) == ({"error"} if path.startswith("/v2") else {"error", "error_type"})
    if path == "/predict":
        assert message in answer.json()["error"]


@pytest.mark.usefixtures("others_are_served")
def test_escaped_control_characters_are_part_of_a_text(http: httpx.Client) -> None:
    answer = http.post("/predict", content=rb'{"inputs": "a\u0000\u001b[2J\tb"}')
    assert answer.status_code == 200


class HeldClassifier:
    """A classifier that says when it is first asked, and answers when it may go on."""

    def __init__(self) -> None:
        self.started, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any) -> np.ndarray:
        self.started.set()
        assert self.go_on.wait(20)
        return predict_logits(*arguments)


def test_too_many_texts_and_too_long_ones_are_refused(http: httpx.Client) -> None:
    many = http.post("/predict", json={"inputs": [["a"]] * 41})
    assert (many.status_code, many.json()["error_type"]) == (413, "Validation")
    assert "at most 40 texts, found 41" in many.json()["error"]
    long = http.post("/classify", json={"texts": ["a" * 2001]})
    assert long.status_code == 413
    assert "at most 2,000 characters, found 2,001" in long.json()["error"]


def test_a_full_queue_is_answered_with_429_and_empties_again(
    served: list[ServedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts beyond the queue are refused with the time to wait, and those that were accepted get their answers."""
    options, held = replace(LIMITS, max_texts=4, max_queue=4), HeldClassifier()
    app = create_app(served, options)
    monkeypatch.setattr(batcher, "predict_logits", held)
    with running_in_thread(app, options) as address, ThreadPoolExecutor() as pool:
        accepted = pool.submit(httpx.post, f"{address}/predict", json={"inputs": [["a"]] * 4}, timeout=30)
        try:
            assert held.started.wait(20)
            refused = [
                httpx.post(address + "/predict", json={"inputs": "a text"}),
                httpx.post(address + "/v2/models/first/infer", json=V2_BODY),
                httpx.post(address + "/v2/models/first/infer", **V2_BINARY),
            ]
        finally:
            held.go_on.set()
        assert [answer.status_code for answer in refused] == [429, 429, 429]
        assert [int(answer.headers["Retry-After"]) for answer in refused] == [1, 1, 1]
        assert refused[0].json() == {
            "error": "Too many texts are waiting. Try again later.",
            "error_type": "Overloaded",
        }
        assert len(accepted.result().json()) == 4
        assert httpx.post(address + "/predict", json={"inputs": "a text"}).status_code == 200


def test_what_is_not_finished_in_time_is_refused_by_name(
    served: list[ServedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that an idle server has accepted may take longer than the time to finish after SIGTERM."""
    held = HeldClassifier()
    app = create_app(served, LIMITS)
    monkeypatch.setattr(batcher, "predict_logits", held)
    monkeypatch.setattr(service, "DRAIN_SECONDS", 0.2)
    with ThreadPoolExecutor() as pool:
        with running_in_thread(app, LIMITS) as address:
            asked = pool.submit(httpx.post, f"{address}/predict", json={"inputs": "a text"}, timeout=30)
            assert held.started.wait(20)
            # The server itself waits for its classifier longer, until the answer is here.
            monkeypatch.setattr(service, "DRAIN_SECONDS", 20)
            asked.add_done_callback(lambda _: held.go_on.set())
        answer = asked.result()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["error"] == "The server has stopped before it could finish this request."


@contextmanager
def connection(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as sock:
        yield sock


@pytest.mark.usefixtures("others_are_served")
def test_a_body_is_counted_while_it_arrives(url: str) -> None:
    """A hundred megabytes without Content-Length: the server answers after its limit and stops reading."""
    part = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent, answer = 0, b""
    with connection(url) as sock:
        sock.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while sent < 100 * 2**20:
                sock.sendall(part)
                sent += 65536
        except (ConnectionError, TimeoutError):
            pass  # the server has closed the connection
        try:
            answer = sock.recv(1000)
        except ConnectionError:
            answer = b"closed"
    assert sent < 100 * 2**20
    assert answer == b"closed" or answer == b"" or b" 413 " in answer


@pytest.mark.usefixtures("others_are_served")
def test_a_declared_size_beyond_the_limit_is_refused_at_once(url: str) -> None:
    with connection(url) as sock:
        sock.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(4000), b""))
    assert b" 413 " in answer
    assert b"at most 20,000 bytes" in answer


@pytest.mark.usefixtures("others_are_served")
def test_dripping_and_half_open_connections_harm_nobody(url: str) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n"
    starts = [head + b"{", b"", b"POST /pre", head[:-2]] * 10
    parts = urlsplit(url)
    sockets = []
    for start in starts:
        sock = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5)
        sock.sendall(start)
        sockets.append(sock)
    for _ in range(5):
        for sock in sockets[::4]:
            sock.sendall(b" ")
        time.sleep(0.05)
    for sock in sockets:
        sock.close()


def test_a_connection_without_a_request_is_closed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from submillion.ship.serve import connections

    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.1)
    with connection(url) as silent, connection(url) as half:
        half.sendall(b"GET /health HTTP/1.1\r\nHo")
        assert silent.recv(10) == b""
        assert half.recv(10) == b""


def test_the_oldest_idle_connection_makes_room(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from submillion.ship.serve import connections

    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    with connection(url) as first, connection(url), connection(url), connection(url), connection(url) as last:
        last.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in last.recv(1000)
        assert first.recv(10) == b""


class Slow:
    """A request whose body never ends."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    async def receive(self) -> dict[str, object]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}


def test_a_body_has_limited_time_and_ends_with_the_server() -> None:
    from submillion.ship.serve.refusals import Refusal, Stopping

    async def reads() -> None:
        with pytest.raises(Refusal, match="did not arrive within") as late:
            await Bodies(1000, seconds=0.05).read(Slow())  # type: ignore[arg-type]
        assert (late.value.status, late.value.close) == (408, True)
        bodies = Bodies(1000, seconds=10)
        asyncio.get_running_loop().call_later(0.05, bodies.stop)
        with pytest.raises(Stopping):
            await bodies.read(Slow())  # type: ignore[arg-type]

    asyncio.run(reads())


def test_a_wrong_host_is_refused_without_a_token(http: httpx.Client) -> None:
    answer = http.get("/info", headers={"Host": "rebound.example"})
    assert answer.status_code == 421
    assert http.get("/info", headers={"Host": "localhost:1"}).status_code == 200


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer a-wrong-token-123", "Basic a-token-of-the-tests"])
def test_everything_but_health_and_page_needs_the_token(guarded_url: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    with httpx.Client(base_url=guarded_url, headers=headers) as client:
        for path in ("/info", "/metrics", "/report", "/v2/models/first"):
            answer = client.get(path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.post("/", json={"inputs": "a"}).status_code == 401
        for path in ("/health", "/", "/page/page.css", "/v2/health/live"):
            assert client.get(path).status_code == 200


def test_the_right_token_is_accepted(guarded_url: str) -> None:
    headers = {"Authorization": "Bearer a-token-of-the-tests", "Host": "behind.a.proxy"}
    assert httpx.get(guarded_url + "/info", headers=headers).status_code == 200


def test_logs_have_no_text(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    from submillion.ship.serve import logs

    with caplog.at_level("INFO", logger=logs.LOGGER.name):
        http.post("/predict?secretquery=1", json={"inputs": "secretword"})
        http.get("/secretpath")
        deadline = time.monotonic() + 5
        while len(caplog.records) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    lines = [json.dumps(vars(record), default=str) for record in caplog.records]
    assert [vars(record)["facts"]["route"] for record in caplog.records] == ["/predict", "none"]
    assert not any("secret" in line for line in lines)
