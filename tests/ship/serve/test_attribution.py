"""The words that drove an answer: their weights are those of the run, and each request has few of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest

from submillion.model.class_thresholds import ClassThresholds
from submillion.ship.serve.app import create_app
from submillion.ship.serve.attribution import pieces_of
from submillion.ship.serve.models import ServedRun
from submillion.ship.serve.options import ServeOptions
from support.server import running_in_thread


def test_attribution_is_the_fall_of_the_log_odds_without_a_word(
    http: httpx.Client, runs: Any, texts: list[str]
) -> None:
    text = texts[0]
    result = http.post("/classify", json={"texts": [text], "attribution": True}).json()["results"][0]
    assert [word["text"] for word in result["words"]] == text.split()
    answer = [str(label) for label in runs[0].classes_].index(result["label"])

    def log_odds(words: str) -> float:
        probability = float(runs[0].predict_proba([words])[0, answer])
        return float(np.log(probability / (1 - probability)))

    for word in result["words"][:3]:
        assert text[word["start"] : word["end"]] == word["text"]
        altered = text[: word["start"]] + text[word["end"] :]
        assert word["weight"] == pytest.approx(log_odds(text) - log_odds(altered), abs=1e-3)


def test_attribution_explains_the_class_that_the_thresholds_answer(
    served: list[ServedRun], runs: Any, texts: list[str]
) -> None:
    probabilities = runs[0].predict_proba(texts[:1])[0]
    other = int(probabilities.argmin())
    values = np.ones(2)
    values[other] = 1e-6  # so low that the less probable class is the answer
    run = replace(served[0], class_thresholds=ClassThresholds("macro_f1", values))
    body, options = {"texts": texts[:1], "attribution": True}, ServeOptions(port=0)
    with running_in_thread(create_app([run], options), options) as address:
        plain, chosen = (
            httpx.post(f"{address}/classify", json=body | more, timeout=20).json()["results"][0]
            for more in ({}, {"class_thresholds": True})
        )
    assert [plain["label"], chosen["label"]] == [run.labels[1 - other], run.labels[other]]
    # Of two classes, what speaks for one speaks as much against the other.
    weights = [word["weight"] for word in plain["words"]]
    assert max(map(abs, weights)) > 1e-3
    assert [word["weight"] for word in chosen["words"]] == pytest.approx([-w for w in weights], abs=1e-4)


def test_attribution_of_several_texts_is_that_of_each(http: httpx.Client, texts: list[str]) -> None:
    """Texts without a word among them; all altered texts wait as one request."""
    several = [texts[0], " ", texts[1], ""]

    def words(some: list[str]) -> list[Any]:
        answer = http.post("/classify", json={"texts": some, "attribution": True}).json()
        return [result["words"] for result in answer["results"]]

    together = words(several)
    assert [len(one) for one in together] == [len(text.split()) for text in several]
    for one, text in zip(together, several, strict=True):
        (alone,) = words([text])
        assert [word["text"] for word in one] == [word["text"] for word in alone]
        expected = [word["weight"] for word in alone]
        assert [word["weight"] for word in one] == pytest.approx(expected, abs=1e-3)


def test_attribution_of_many_texts_is_refused(http: httpx.Client) -> None:
    answer = http.post("/classify", json={"texts": ["a"] * 9, "attribution": True})
    assert answer.status_code == 413
    assert (
        http.post("/classify", json={"texts": ["  "], "attribution": True}).json()["results"][0]["words"]
        == []
    )


@pytest.mark.parametrize("text", ["one two", "  a\n", "w " * 500, "字" * 300, "", "a" * 41])
def test_pieces_are_ordered_words_and_few(text: str) -> None:
    pieces = pieces_of(text)
    assert len(pieces) <= 64
    assert all(start < end for start, end in pieces)
    assert all(one[1] <= two[0] for one, two in pairwise(pieces))
    outside = set(range(len(text))) - {place for start, end in pieces for place in range(start, end)}
    assert all(text[place].isspace() for place in outside)
