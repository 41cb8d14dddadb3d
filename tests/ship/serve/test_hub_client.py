"""huggingface_hub's clients, unmodified, with every parameter that they send."""

from __future__ import annotations

import asyncio

import huggingface_hub
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError
from scipy.special import expit

from submillion import Run

NEAR = 2e-5
"""Between a batch and a text alone: float32 sums in another order."""


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub refuses every request while the tests are offline; those here stay on this machine."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


def labels_of(run: Run) -> list[str]:
    return [str(label) for label in run.classes_]


def test_the_hub_client_gets_the_runs_probabilities(
    url: str, runs: tuple[Run, Run], texts: list[str]
) -> None:
    client = InferenceClient(model=url)
    for text, expected in zip(texts[:3], runs[0].predict_proba(texts[:3]), strict=True):
        got = {item.label: item.score for item in client.text_classification(text)}
        assert got == pytest.approx(dict(zip(labels_of(runs[0]), expected.tolist(), strict=True)), abs=NEAR)


def test_the_hub_client_chooses_a_model_and_the_number_of_classes(
    url: str, runs: tuple[Run, Run], texts: list[str]
) -> None:
    client = InferenceClient(model=f"{url}/models/second")
    (best,) = client.text_classification(texts[0], top_k=1)
    expected = runs[1].predict_proba(texts[:1])[0]
    assert best.score == pytest.approx(expected.max(), abs=NEAR)
    assert best.label == labels_of(runs[1])[int(expected.argmax())]
    logits = client.text_classification(texts[0], function_to_apply="none")
    assert sum(item.score for item in logits) != pytest.approx(1.0, abs=1e-3)


def test_the_hub_client_raises_for_a_model_that_is_not_served(url: str) -> None:
    with pytest.raises(HfHubHTTPError, match="404"):
        InferenceClient(model=f"{url}/models/third").text_classification("a")


def test_the_hub_client_sends_its_token(guarded_url: str) -> None:
    with pytest.raises((HfHubHTTPError, BadRequestError), match="401"):
        InferenceClient(model=guarded_url, token="a-wrong-token-123").text_classification("a")
    assert InferenceClient(model=guarded_url, token="a-token-of-the-tests").text_classification("a")


def test_the_hub_client_chooses_a_function(url: str, texts: list[str]) -> None:
    client = InferenceClient(model=url)
    scores = {
        function: {
            item.label: item.score
            for item in client.text_classification(texts[0], function_to_apply=function, top_k=9)
        }
        for function in ("none", "sigmoid", "softmax")
    }
    logits = scores["none"]
    assert len(logits) == 2  # no more classes than there are
    assert scores["sigmoid"] == pytest.approx(
        {name: float(expit(at)) for name, at in logits.items()}, abs=NEAR
    )
    assert scores["softmax"]["1"] == pytest.approx(float(expit(logits["1"] - logits["0"])), abs=NEAR)


def test_the_hub_client_raises_for_a_number_of_classes_below_one(url: str) -> None:
    with pytest.raises(
        HfHubHTTPError, match="`parameters.top_k`: Input should be greater than or equal to 1."
    ):
        InferenceClient(model=url).text_classification("a", top_k=0)


def test_the_asynchronous_hub_client_gets_the_same_answers(url: str, texts: list[str]) -> None:
    async def ask() -> list[list[tuple[str, float]]]:
        async with AsyncInferenceClient(model=f"{url}/models/second") as client:
            answers = await asyncio.gather(*(client.text_classification(text, top_k=1) for text in texts[:3]))
        return [[(item.label, item.score) for item in answer] for answer in answers]

    client = InferenceClient(model=f"{url}/models/second")
    for text, ((label, score),) in zip(texts[:3], asyncio.run(ask()), strict=True):
        (best,) = client.text_classification(text, top_k=1)
        assert (best.label, best.score) == (label, pytest.approx(score, abs=NEAR))


@pytest.mark.parametrize(("path", "model"), [("", "first"), ("/models/second", "second")])
def test_the_hub_client_asks_for_health_and_information(url: str, path: str, model: str) -> None:
    """The client asks a server for its health only with `provider="hf-inference"`."""
    client = InferenceClient(provider="hf-inference", model=url + path)
    assert client.health_check() is True
    assert client.get_endpoint_info()["model_id"] == model
    assert client.health_check(f"{url}/models/third") is False
