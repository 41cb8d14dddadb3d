"""Every protocol: requests as its clients send them get what they expect, and the answers are those of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
import pytest

from submillion import Run
from submillion.ship.serve import batcher
from submillion.ship.serve.app import create_app
from submillion.ship.serve.models import ServedRun
from submillion.ship.serve.options import ServeOptions
from support.server import running_in_thread

NEAR = 2e-5
"""Between a batch and a text alone: float32 sums in another order."""


def by_label(row: list[Mapping[str, Any]]) -> dict[str, float]:
    return {item["label"]: item["score"] for item in row}


def labels_of(run: Run) -> list[str]:
    return [str(label) for label in run.classes_]


def test_predict_answers_one_text_flat_and_several_nested(
    http: httpx.Client, runs: Any, texts: list[str]
) -> None:
    expected = runs[0].predict_proba(texts)
    one = http.post("/predict", json={"inputs": texts[0]}).json()
    assert [item["score"] for item in one] == sorted((item["score"] for item in one), reverse=True)
    assert http.post("/predict", json={"inputs": [texts[0]]}).json() == one
    many = http.post("/predict", json={"inputs": [[text] for text in texts]}).json()
    for row, probabilities in zip(many, expected, strict=True):
        assert by_label(row) == pytest.approx(
            dict(zip(labels_of(runs[0]), probabilities.tolist(), strict=True)), abs=NEAR
        )


def test_predict_gives_logits_on_request(http: httpx.Client, texts: list[str]) -> None:
    scores = by_label(http.post("/predict", json={"inputs": texts[0]}).json())
    raw = by_label(http.post("/predict", json={"inputs": texts[0], "raw_scores": True}).json())
    values = np.exp(np.array([raw[label] for label in scores]))
    assert (values / values.sum()).tolist() == pytest.approx(list(scores.values()), abs=NEAR)


def test_predict_refuses_a_pair_of_texts_by_name(http: httpx.Client) -> None:
    answer = http.post("/predict", json={"inputs": ["a", "b"]})
    assert answer.status_code == 422
    assert answer.json()["error_type"] == "Validation"
    assert (
        'one pair of texts, and this classifier takes single texts. For several texts, send [["a"], ["b"]].'
        in (answer.json()["error"])
    )


def test_predict_truncates_as_in_training_or_refuses(http: httpx.Client) -> None:
    long = "word " * 200
    assert http.post("/predict", json={"inputs": long}).status_code == 200
    refused = http.post("/predict", json={"inputs": [["short"], [long]], "truncate": False})
    assert refused.status_code == 413
    assert "at most 24 tokens" in refused.json()["error"]
    direction = http.post("/predict", json={"inputs": long, "truncation_direction": "Left"})
    assert direction.status_code == 422
    assert "cuts long texts on the right" in direction.json()["error"]


def test_predict_takes_every_field_of_its_protocol(http: httpx.Client, texts: list[str]) -> None:
    """Clients generated from the description of text-embeddings-inference send its defaults."""
    given = {"raw_scores": False, "truncate": False, "truncation_direction": "Right"}
    short = {"inputs": [["a text"], ["another"]]}
    assert http.post("/predict", json=short | given).json() == http.post("/predict", json=short).json()
    assert http.post("/predict", json=short | {"truncate": None}).status_code == 200


def test_predict_says_that_the_classifier_failed(
    served: list[ServedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the shape and status of the protocol, and quotes no text; the next request is answered."""
    predict, failing = batcher.predict_logits, True

    def predict_or_fail(*arguments: Any) -> np.ndarray:
        if failing:
            raise RuntimeError("secretword")
        return predict(*arguments)

    options = ServeOptions(port=0)
    app = create_app(served, options)
    monkeypatch.setattr(batcher, "predict_logits", predict_or_fail)
    with running_in_thread(app, options) as address:
        failed = httpx.post(address + "/predict", json={"inputs": "secretword"}, timeout=20)
        failing = False
        answered = httpx.post(address + "/predict", json={"inputs": "secretword"}, timeout=20)
    assert failed.status_code == 424
    assert failed.json() == {"error": "The classifier failed.", "error_type": "Backend"}
    assert answered.status_code == 200


def test_info_describes_the_runs(http: httpx.Client, runs: tuple[Run, Run]) -> None:
    info = http.get("/info").json()
    assert info["model_id"] == "first"
    assert info["max_client_batch_size"] == 40
    assert info["max_input_length"] == 24
    assert info["model_type"]["classifier"]["id2label"] == {"0": "0", "1": "1"}
    first, second = info["models"]
    assert (first["name"], first["labels"], first["abstain_below"]) == ("first", labels_of(runs[0]), 0.6)
    assert (second["name"], second["abstain_below"], second["calibrated"]) == ("second", None, False)


def test_metrics_count_texts_and_requests(http: httpx.Client, texts: list[str]) -> None:
    def value(name: str) -> float:
        lines = http.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + "{"))

    before = value("submillion_texts_total"), value("submillion_requests_total")
    http.post("/predict", json={"inputs": [[text] for text in texts]})
    assert value("submillion_texts_total") == before[0] + len(texts)
    assert value("submillion_requests_total") > before[1]


def v2(texts: list[Any], **changes: Any) -> dict[str, Any]:
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts} | changes
    return {"id": "42", "inputs": [tensor]}


def test_inference_protocol_answers_as_the_run(http: httpx.Client, runs: Any, texts: list[str]) -> None:
    answer = http.post("/v2/models/second/infer", json=v2(texts)).json()
    expected = runs[1].predict_proba(texts)
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert (answer["model_name"], answer["id"]) == ("second", "42")
    assert outputs["probabilities"]["shape"] == [len(texts), 2]
    assert outputs["probabilities"]["data"] == pytest.approx(expected.ravel().tolist(), abs=NEAR)
    assert outputs["label"]["data"] == [labels_of(runs[1])[place] for place in expected.argmax(axis=1)]
    only = http.post("/v2/models/second/infer", json=v2(texts) | {"outputs": [{"name": "label"}]}).json()
    assert [output["name"] for output in only["outputs"]] == ["label"]


def test_inference_protocol_describes_server_and_models(http: httpx.Client) -> None:
    server = http.get("/v2").json()
    assert (server["name"], server["extensions"]) == ("submillion", ["binary_tensor_data", "classification"])
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    assert http.get("/v2/models/first").json()["inputs"][0]["datatype"] == "BYTES"
    assert http.get("/v2/models/first/ready").json() == {"name": "first", "ready": True}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (v2(["a"], shape=[2]), 422, "shape"),
        (v2(["a"], datatype="FP32"), 422, "expected BYTES"),
        (v2([1]), 422, "expected a list of strings"),
        (v2(["a"], name="words"), 422, "named 'text'"),
        (v2(["a"]) | {"model_name": "second"}, 422, "`model_name`: expected 'first', as in the path."),
        (v2(["a"]) | {"outputs": [{"name": "logits"}]}, 422, "label, score, probabilities"),
        (v2([["a"], ["b"]]), 422, "expected a list of strings"),
        (v2([["a"], ["b"]], shape=[1, 2]), 422, "`inputs.0.data`: expected lists in the shape"),
        (v2([["a"], "b"], shape=[2, 1]), 422, "expected a list of strings"),
        (
            v2(["a"]) | {"parameters": {"binary_data_output": "yes"}},
            422,
            "`parameters.binary_data_output`: expected true or false.",
        ),
        (
            v2(["a"]) | {"outputs": [{"name": "score"}, {"name": "label", "parameters": {"binary_data": 1}}]},
            422,
            "`outputs.1.parameters.binary_data`: expected true or false.",
        ),
        (
            v2(["a"]) | {"outputs": [{"name": "label", "parameters": {"classification": 1}}]},
            422,
            "`outputs.0.parameters.classification`: expected at the output 'probabilities' alone.",
        ),
        (
            v2(["a"]) | {"outputs": [{"name": "probabilities", "parameters": {"classification": -1}}]},
            422,
            "`outputs.0.parameters.classification`: expected a number of classes.",
        ),
        (
            v2(["a"]) | {"outputs": [{"name": "label", "parameters": {"shared_memory_region": "mine"}}]},
            422,
            "`outputs.0.parameters`: shared memory is not supported. Take the outputs from the body.",
        ),
    ],
)
def test_inference_protocol_refuses_in_its_own_shape(
    http: httpx.Client, body: Any, status: int, message: str
) -> None:
    answer = http.post("/v2/models/first/infer", json=body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert message in answer.json()["error"]
    assert http.get("/v2/models/third").status_code == 404


def test_inference_protocol_takes_parameters_that_change_nothing(http: httpx.Client) -> None:
    output = {"name": "label", "parameters": {"binary_data": False}}
    body = v2(["a"]) | {"parameters": {"binary_data_output": False, "priority": 1}, "outputs": [output]}
    assert http.post("/v2/models/first/infer", json=body).status_code == 200


def test_inference_protocol_takes_the_forms_of_other_clients(http: httpx.Client, texts: list[str]) -> None:
    """KServe's client repeats the name of the model, MLServer's names a content type, and data may be nested."""
    path = "/v2/models/second/infer"
    expected = http.post(path, json=v2(texts)).json()
    column = [len(texts), 1]
    for body in (
        v2(texts) | {"model_name": "second"},
        v2(texts, shape=column, parameters={"content_type": "str"}),
        v2([[text] for text in texts], shape=column),
        v2([texts], shape=column[::-1]),
    ):
        assert http.post(path, json=body).json() == expected


def test_classify_gives_calibrated_scores_and_abstains(
    http: httpx.Client, runs: Any, texts: list[str]
) -> None:
    raw = runs[0].predict_proba(texts)
    threshold = float(np.median(raw.max(axis=1)))
    answer = http.post("/classify", json={"texts": texts, "abstain_below": threshold, "top_k": 1}).json()
    assert answer["model"] == "first"
    assert [result["abstained"] for result in answer["results"]] == [
        bool(row.max() < threshold) for row in raw.astype(float)
    ]
    assert 0 < sum(result["abstained"] for result in answer["results"]) < len(texts)
    for result, row in zip(answer["results"], raw, strict=True):
        odds = np.sqrt(row.astype(float))  # a temperature of 2
        assert result["calibrated_score"] == pytest.approx(odds.max() / odds.sum(), abs=1e-4)
        assert len(result["scores"]) == 1
        assert result["label"] == labels_of(runs[0])[int(row.argmax())]


def test_classify_without_a_temperature_has_no_calibrated_score(http: httpx.Client) -> None:
    result = http.post("/classify", json={"texts": ["a"], "model": "second"}).json()["results"][0]
    assert result["calibrated_score"] is None
    assert [item["calibrated_score"] for item in result["scores"]] == [None, None]
    refused = http.post("/classify", json={"texts": ["a"], "class_thresholds": True})
    assert refused.status_code == 422
    assert "no thresholds are chosen" in refused.json()["error"]


def test_page_report_and_card_are_served_under_a_strict_policy(http: httpx.Client, runs: Any) -> None:
    page = http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert http.get("/page/page.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert http.get("/page/..%2f..%2fapp.py").status_code == 404
    assert http.get("/report").content == (runs[0].path / "report.html").read_bytes()
    assert http.get("/card", params={"model": "second"}).content == (runs[1].path / "README.md").read_bytes()
    assert http.get("/report", params={"model": "third"}).status_code == 404
