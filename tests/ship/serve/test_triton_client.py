"""NVIDIA's client of the Open Inference Protocol, unmodified: binary data, which is its default, and JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.http.aio import InferenceServerClient as AsyncInferenceServerClient
from tritonclient.utils import InferenceServerException

from submillion.ship.serve.inference_inputs import JSON_LENGTH
from submillion.ship.serve.inference_outputs import Wanted, infer_response

NEAR = 2e-5
"""Between a batch and a text alone: float32 sums in another order."""
TEXTS = ["arrived broken", "wörks ☃ as it\nshould 😀", ""]


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(url.removeprefix("http://")) as client:
        yield client


def tensor(texts: Sequence[str], *, binary: bool = True, shape: Sequence[int] | None = None) -> InferInput:
    values = np.array([text.encode() for text in texts], dtype=np.object_).reshape(shape or [len(texts)])
    given = InferInput("text", list(values.shape), "BYTES")
    given.set_data_from_numpy(values, binary_data=binary)
    return given


def expected(http: httpx.Client, model: str, texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return labels and probabilities [N, C] as `/predict` gives them; the classes are 0 and 1."""
    answer = http.post("/predict", json={"inputs": [[text] for text in texts], "model": model}).json()
    labels = [row[0]["label"] for row in answer]
    by_label = [{item["label"]: item["score"] for item in row} for row in answer]
    return labels, np.array([[row["0"], row["1"]] for row in by_label])


def check(result: InferResult, labels: Sequence[str], probabilities: np.ndarray) -> None:
    """Check whichever outputs there are; labels in binary are bytes, in JSON strings."""
    for output in result.get_response()["outputs"]:
        values = result.as_numpy(output["name"])
        if output["name"] == "label":
            assert [one.decode() if isinstance(one, bytes) else one for one in values] == labels
        else:
            right = probabilities if output["name"] == "probabilities" else probabilities.max(axis=1)
            assert (values.dtype, values.shape) == (np.float32, right.shape)
            np.testing.assert_allclose(values, right, atol=NEAR)


OUTPUTS: dict[str, Any] = {
    "default": (None, ["label", "score", "probabilities"]),
    "binary": ([InferRequestedOutput("label"), InferRequestedOutput("score")], ["label", "score"]),
    "json": ([InferRequestedOutput("probabilities", binary_data=False)], ["probabilities"]),
    "both": (
        [InferRequestedOutput("probabilities", binary_data=False), InferRequestedOutput("label")],
        ["probabilities", "label"],
    ),
}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_the_answers_are_those_of_predict(
    client: InferenceServerClient, http: httpx.Client, binary: bool, outputs: str
) -> None:
    wanted, names = OUTPUTS[outputs]
    result = client.infer("second", [tensor(TEXTS, binary=binary)], outputs=wanted, request_id="42")
    response = result.get_response()
    assert (response["model_name"], response["id"]) == ("second", "42")
    assert [output["name"] for output in response["outputs"]] == names
    check(result, *expected(http, "second", TEXTS))


def test_a_column_of_texts_is_taken(client: InferenceServerClient, http: httpx.Client) -> None:
    for binary in (True, False):
        result = client.infer("first", [tensor(TEXTS, binary=binary, shape=[3, 1])])
        check(result, *expected(http, "first", TEXTS))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compressed_requests_are_answered(
    client: InferenceServerClient, http: httpx.Client, algorithm: str, binary: bool
) -> None:
    result = client.infer(
        "first",
        [tensor(TEXTS, binary=binary)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,  # a server may answer without compression
    )
    check(result, *expected(http, "first", TEXTS))


@pytest.mark.parametrize("binary", [True, False])
def test_class_count_gives_the_most_probable_classes(
    client: InferenceServerClient, http: httpx.Client, binary: bool
) -> None:
    """A class is `value:index:label`; no more are given than there are."""
    labels, probabilities = expected(http, "first", TEXTS)
    for count, given in ((1, 1), (2, 2), (9, 2)):
        wanted = InferRequestedOutput("probabilities", binary_data=binary, class_count=count)
        result = client.infer("first", [tensor(TEXTS)], outputs=[wanted])
        classes = result.as_numpy("probabilities")
        assert (result.get_output("probabilities")["datatype"], classes.shape) == ("BYTES", (3, given))
        for row, label, right in zip(classes.tolist(), labels, probabilities, strict=True):
            parts = [(one.decode() if binary else one).split(":") for one in row]
            assert parts[0][2] == label
            assert [float(value) for value, _, _ in parts] == pytest.approx(
                sorted(right)[::-1][:given], abs=NEAR
            )
            assert [place for _, place, _ in parts] == [str(place) for place in np.argsort(-right)[:given]]


def test_class_names_may_have_any_characters() -> None:
    scores = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)
    wanted = [Wanted("label", True, 0), Wanted("probabilities", True, 2)]
    answer = infer_response({}, wanted, scores, ["☃:1", "b"])
    result = InferResult.from_response_body(bytes(answer.body), header_length=answer.headers[JSON_LENGTH])
    assert [name.decode() for name in result.as_numpy("label")] == ["b", "☃:1"]
    classes = [[one.decode() for one in row] for row in result.as_numpy("probabilities")]
    assert classes == [["0.75:1:b", "0.25:0:☃:1"], ["0.5:0:☃:1", "0.5:1:b"]]


def test_server_and_models_are_described(client: InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("second") and not client.is_model_ready("third")
    server = client.get_server_metadata()
    assert (server["name"], server["extensions"]) == ("submillion", ["binary_tensor_data", "classification"])
    model = client.get_model_metadata("second")
    assert model["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert model["outputs"][2] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]}


def test_the_version_of_a_model_can_be_named(client: InferenceServerClient, http: httpx.Client) -> None:
    (version,) = client.get_model_metadata("first")["versions"]
    assert client.is_model_ready("first", version) and not client.is_model_ready("first", "1")
    assert client.get_model_metadata("first", version)["versions"] == [version]
    result = client.infer("first", [tensor(TEXTS)], model_version=version)
    assert result.get_response()["model_version"] == version
    check(result, *expected(http, "first", TEXTS))
    with pytest.raises(InferenceServerException, match=f"This server has version {version} of 'first'."):
        client.infer("first", [tensor(TEXTS)], model_version="1")


def test_hints_change_nothing(client: InferenceServerClient, http: httpx.Client) -> None:
    result = client.infer("first", [tensor(TEXTS)], priority=1, timeout=5_000_000, parameters={"mine": "x"})
    check(result, *expected(http, "first", TEXTS))


def test_asynchronous_requests_are_answered(
    client: InferenceServerClient, http: httpx.Client, url: str
) -> None:
    right = expected(http, "first", TEXTS)
    check(client.async_infer("first", [tensor(TEXTS)]).get_result(), *right)

    async def ask() -> list[InferResult]:
        async with AsyncInferenceServerClient(url.removeprefix("http://")) as asynchronous:
            return await asyncio.gather(*(asynchronous.infer("first", [tensor(TEXTS)]) for _ in range(4)))

    for result in asyncio.run(ask()):
        check(result, *right)


def test_a_refusal_is_the_clients_own_exception(client: InferenceServerClient) -> None:
    for model, given, status, message in (
        ("third", tensor(TEXTS), "404", "There is no such model. This server has first, second."),
        ("first", tensor(["a"] * 41), "413", "`inputs.0.shape`: expected at most 40 texts, found 41."),
        (
            "first",
            tensor(["a" * 2001]),
            "413",
            "`inputs.0`: expected texts of at most 2,000 characters, found 2,001.",
        ),
        ("first", tensor(["a" * 900] * 30), "413", "The body: expected at most 20,000 bytes."),
    ):
        with pytest.raises(InferenceServerException) as refused:
            client.infer(model, [given])
        assert (refused.value.status(), refused.value.message()) == (status, message)
    with pytest.raises(InferenceServerException, match="There is no such path."):
        client.get_model_config("first")  # an extension of Triton's; the protocol has no such path


def test_the_token_is_a_header(guarded_url: str) -> None:
    with InferenceServerClient(guarded_url.removeprefix("http://")) as client:
        with pytest.raises(
            InferenceServerException, match="Expected the header `Authorization: Bearer TOKEN`"
        ):
            client.infer("first", [tensor(["a"])])
        assert client.infer(
            "first", [tensor(["a"])], headers={"Authorization": "Bearer a-token-of-the-tests"}
        )
