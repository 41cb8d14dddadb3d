"""Broken binary data and broken compression get one clear error each, and no other client notices them."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from typing import Any

import httpx
import pytest

PATH = "/v2/models/first/infer"
LENGTH = "Inference-Header-Content-Length"
NEAR = 2e-5
"""Between batches: float32 sums in another order."""
SIZE = "`inputs.0.parameters.binary_data_size`"

pytestmark = pytest.mark.usefixtures("others_are_served")


def packed(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


GOOD = packed(b"one", b"two")


def request(after: bytes = GOOD, size: Any = None, header: str | None = "", **changes: Any) -> dict[str, Any]:
    """Return a request for httpx.

    Args:
        after: the bytes after the JSON.
        size: `binary_data_size`; None is the right one.
        header: the header with the length of the JSON; "" is the right one, None sends none.
        changes: of the tensor.
    """
    parameters = {"binary_data_size": len(after) if size is None else size}
    given = {"name": "text", "shape": [2], "datatype": "BYTES", "parameters": parameters} | changes
    document = json.dumps({"inputs": [given]}).encode()
    value = str(len(document)) if header == "" else header
    return {
        "content": document + after,
        "headers": {} if value is None else {LENGTH: value.encode("latin-1")},
    }


def test_a_right_request_is_answered(http: httpx.Client) -> None:
    answer = http.post(PATH, **request())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert len(answer.json()["outputs"][0]["data"]) == 2


def test_a_binary_answer_has_its_bytes_after_the_json(http: httpx.Client) -> None:
    body = {
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}],
        "outputs": [{"name": "label", "parameters": {"binary_data": True}}, {"name": "score"}],
    }
    answer = http.post(PATH, json=body)
    assert answer.headers["content-type"] == "application/octet-stream"
    end = int(answer.headers[LENGTH])
    label, score = json.loads(answer.content[:end])["outputs"]
    assert answer.content[end:] in (packed(b"0"), packed(b"1"))
    assert label == {
        "name": "label",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": 5},
    }
    assert list(score) == ["name", "shape", "datatype", "data"]


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a length past the end": (
        request(packed(b"one") + struct.pack("<I", 9) + b"two"),
        "`inputs.0`: text 1 has a length of 9 bytes, and 3 follow.",
    ),
    "the largest length": (
        request(b"\xff\xff\xff\xff", shape=[1]),
        "`inputs.0`: text 0 has a length of 4,294,967,295 bytes, and 0 follow.",
    ),
    "big-endian lengths": (
        request(struct.pack(">I", 3) + b"one", shape=[1]),
        "`inputs.0`: text 0 has a length of 50,331,648 bytes, and 3 follow.",
    ),
    "half a length": (
        request(packed(b"one") + b"\x03\x00"),
        "`inputs.0`: expected 2 texts, as in its shape, found 1 and 2 bytes.",
    ),
    "too few texts": (request(packed(b"one")), "`inputs.0`: expected 2 texts, as in its shape, found 1."),
    "too many texts": (
        request(packed(b"one", b"two", b"three")),
        "`inputs.0`: expected 2 texts, as in its shape, found 9 bytes after them.",
    ),
    "a negative size": (request(size=-14), f"{SIZE}: expected a whole number of bytes, 0 or more."),
    "a size in words": (request(size="14"), f"{SIZE}: expected a whole number of bytes, 0 or more."),
    "half a byte": (request(size=14.5), f"{SIZE}: expected a whole number of bytes, 0 or more."),
    "true as a size": (request(size=True), f"{SIZE}: expected a whole number of bytes, 0 or more."),
    "a size too small": (
        request(size=13),
        f"{SIZE}: expected 14, the bytes after the JSON, found 13. The header {LENGTH} says where the JSON ends.",
    ),
    "a size too large": (
        request(size=10**18),
        f"{SIZE}: expected 14, the bytes after the JSON, found 1,000,000,000,000,000,000. The header {LENGTH} says "
        "where the JSON ends.",
    ),
    "no bytes": (
        request(b"", size=14, header=None),
        f"{SIZE}: expected 0, the bytes after the JSON, found 14. The header {LENGTH} says where the JSON ends.",
    ),
    "bytes that nothing names": (
        request(parameters={}, data=["one", "two"]),
        f"{SIZE}: expected 14, the bytes after the JSON, found none.",
    ),
    "data twice": (request(data=["one", "two"]), "`inputs.0.data`: expected none beside `binary_data_size`."),
    "no data": (request(b"", parameters={}), "`inputs.0.data`: expected the texts."),
    "no header": (
        request(header=None),
        "The body: expected JSON, found a text that is not JSON (line 1 column 106).",
    ),
    "a JSON longer than the body": (
        request(header="5000"),
        f"`{LENGTH}`: expected at most the body's 119 bytes, found 5,000.",
    ),
    "a JSON of nothing": (
        request(header="0"),
        "The body: expected JSON, found a text that is not JSON (line 1 column 1).",
    ),
    "a negative header": (request(header="-1"), f"`{LENGTH}`: expected one number, the bytes of the JSON."),
    "a header in words": (request(header="all"), f"`{LENGTH}`: expected one number, the bytes of the JSON."),
    "an endless header": (
        request(header="9" * 5000),
        f"`{LENGTH}`: expected one number, the bytes of the JSON.",
    ),
    "other digits": (request(header="\xb2"), f"`{LENGTH}`: expected one number, the bytes of the JSON."),
    "no utf-8": (request(packed(b"one", b"tw\xff")), "`inputs.0`: text 1 is not in utf-8 (byte 2)."),
    "half a surrogate pair": (
        request(packed(b"one", b"\xed\xa0\x80")),
        "`inputs.0`: text 1 is not in utf-8 (byte 0).",
    ),
    "a NUL": (
        request(packed(b"one", b"two\0")),
        "`inputs.0`: text 1 has a NUL byte, as utf-16 and padded texts have. Send utf-8 without padding.",
    ),
    "utf-16": (
        request(packed("one".encode("utf-16-le"), b"two")),
        "`inputs.0`: text 0 has a NUL byte, as utf-16 and padded texts have. Send utf-8 without padding.",
    ),
    "a negative shape": (request(shape=[-1]), "`inputs.0.shape`: expected [N] for N texts."),
    "no shape": (request(shape=[]), "`inputs.0.shape`: expected [N] for N texts."),
    "a square": (request(shape=[2, 2]), "`inputs.0.shape`: expected [N] for N texts."),
    "no texts": (request(b"", shape=[0]), "`inputs.0` cannot be empty."),
    "shared memory": (
        request(b"", parameters={"shared_memory_region": "mine"}, header=None),
        "`inputs.0.parameters`: shared memory is not supported. Send the texts in the body.",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_broken_binary_data_gets_one_clear_error(http: httpx.Client, case: str) -> None:
    given, message = FAULTS[case]
    answer = http.post(PATH, **given)
    assert (answer.status_code, answer.json()) == (422, {"error": message})


def test_a_header_that_comes_twice_is_refused(http: httpx.Client) -> None:
    given = request()
    headers = list(given["headers"].items()) * 2
    answer = http.post(PATH, content=given["content"], headers=headers)
    assert answer.json() == {"error": f"`{LENGTH}`: expected one number, the bytes of the JSON."}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (request(packed(*[b"a"] * 41), shape=[41]), "`inputs.0.shape`: expected at most 40 texts, found 41."),
        (request(bytes(4 * 10**3), shape=[10**18]), "found 1,000,000,000,000,000,000."),
        (request(packed(b"a" * 2001), shape=[1]), "expected texts of at most 2,000 characters, found 2,001."),
        (request(packed(b"a" * 20_000), shape=[1]), "The body: expected at most 20,000 bytes."),
    ],
)
def test_binary_data_has_the_limits_of_json(http: httpx.Client, given: Any, message: str) -> None:
    answer = http.post(PATH, **given)
    assert answer.status_code == 413
    assert answer.json()["error"].endswith(message)


BODY = b'{"inputs": "a text"}'
COMPRESSED: dict[str, tuple[str, bytes, int, str]] = {
    "no gzip": ("gzip", BODY, 422, "The body is not in gzip, as its Content-Encoding says."),
    "the other one": (
        "deflate",
        gzip.compress(BODY),
        422,
        "The body is not in deflate, as its Content-Encoding says.",
    ),
    "half": (
        "gzip",
        gzip.compress(BODY)[:-5],
        422,
        "The body: expected a complete gzip stream, found the beginning of one.",
    ),
    "nothing": (
        "deflate",
        b"",
        422,
        "The body: expected a complete deflate stream, found the beginning of one.",
    ),
    "more": (
        "gzip",
        gzip.compress(BODY) + b"more",
        422,
        "The body: expected one gzip stream, found 4 bytes after it.",
    ),
    "a bomb": (
        "gzip",
        gzip.compress(b" " * 10**7),
        413,
        "The body: expected at most 20,000 bytes after decompression.",
    ),
    "unknown": ("br", BODY, 415, "`Content-Encoding`: expected gzip or deflate."),
    "two": (
        "gzip, gzip",
        gzip.compress(gzip.compress(BODY)),
        415,
        "`Content-Encoding`: expected gzip or deflate.",
    ),
}


@pytest.mark.parametrize("case", COMPRESSED)
def test_broken_compression_gets_one_clear_error(http: httpx.Client, case: str) -> None:
    encoding, content, status, message = COMPRESSED[case]
    answer = http.post("/predict", content=content, headers={"Content-Encoding": encoding})
    assert (answer.status_code, answer.json()) == (status, {"error": message, "error_type": "Validation"})


@pytest.mark.parametrize(("path", "several"), [("/predict", False), ("/", True), ("/models/second", True)])
def test_every_endpoint_takes_compressed_bodies(http: httpx.Client, path: str, several: bool) -> None:
    def scores(content: bytes, encoding: str) -> dict[str, float]:
        answer = http.post(path, content=content, headers={"Content-Encoding": encoding}).json()
        return {item["label"]: item["score"] for item in (answer[0] if several else answer)}

    plain = pytest.approx(scores(BODY, "identity"), abs=NEAR)
    assert scores(gzip.compress(BODY), "gzip") == plain
    assert scores(zlib.compress(BODY), "Deflate") == plain
    largest = BODY + b" " * (20_000 - len(BODY))
    assert scores(gzip.compress(largest), "gzip") == plain
