"""The guard in front of every answer: route labels, allowed methods, and requests without a Host."""

from __future__ import annotations

import re
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from submillion.ship.serve import logs

ASKED = {
    ("POST", "/"): "/",
    ("GET", "/"): "/",
    ("POST", "/models/second"): "/models/{name}",
    ("POST", "/predict"): "/predict",
    ("PUT", "/predict"): "/predict",
    ("GET", "/models/second/info"): "/models/{name}/info",
    ("GET", "/info"): "/info",
    ("GET", "/v2/models/second"): "/v2/models/{name}",
    ("GET", "/v2/models/second/ready"): "/v2/models/{name}/ready",
    ("GET", "/v2/models/second/versions/1"): "/v2/models/{name}/versions/{version}",
    ("GET", "/unknown"): "none",
    ("GET", "/models/a/b/c"): "none",
}


def test_every_path_has_the_label_of_its_route(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger=logs.LOGGER.name):
        for method, path in ASKED:
            http.request(method, path, json={"inputs": "a text"} if method == "POST" else None)
        deadline = time.monotonic() + 5
        while len(caplog.records) < len(ASKED) and time.monotonic() < deadline:
            time.sleep(0.01)
    labels = [vars(record)["facts"]["route"] for record in caplog.records]
    assert dict(zip(ASKED, labels, strict=True)) == ASKED
    counted = set(re.findall(r'submillion_requests_total\{route="([^"]*)"', http.get("/metrics").text))
    assert counted >= set(ASKED.values()) and not any(
        "second" in label or "a/b" in label for label in counted
    )


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/", "GET, HEAD, POST"), ("/predict", "POST"), ("/v2/models/second", "GET, HEAD")],
)
def test_a_wrong_method_names_those_that_the_path_has(http: httpx.Client, path: str, allowed: str) -> None:
    answer = http.delete(path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert "Allow" not in http.get("/unknown").headers


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("GET /health HTTP/1.0", 200),
        ("GET /info HTTP/1.0", 200),
        ("GET /health HTTP/1.0\r\nHost: rebound.example", 421),
        ("GET /health HTTP/1.0\r\nHost:", 421),
    ],
)
def test_http_1_0_needs_no_host(url: str, lines: str, status: int) -> None:
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as client:
        client.sendall(f"{lines}\r\n\r\n".encode())
        assert int(client.recv(1000).split()[1]) == status


def test_http_1_1_needs_a_host(url: str) -> None:
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert int(client.recv(1000).split()[1]) in (400, 421)
