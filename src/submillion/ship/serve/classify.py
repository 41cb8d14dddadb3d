"""Our own endpoint, POST `/classify`: calibrated scores, abstention and the words that drove an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import Request, Response
from pydantic import Field

from submillion.model.class_thresholds import NONE
from submillion.model.infer import probabilities_of
from submillion.ship.predict_options import answers
from submillion.ship.serve.attribution import pieces_of, weighed, without
from submillion.ship.serve.models import ServedRun
from submillion.ship.serve.payload import Body, read, texts_of
from submillion.ship.serve.refusals import Refusal, TooLarge
from submillion.ship.serve.service import Service, json_response

if TYPE_CHECKING:
    from fastapi import FastAPI

MAX_EXPLAINED = 8
"""Texts of a request with `attribution`: each costs up to `MAX_PIECES` texts more."""
MAX_EXPLAINED_CHARACTERS = 20_000


class ClassifyBody(Body):
    """The body of `/classify`."""

    texts: list[str]
    model: str | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    attribution: bool = False
    abstain_below: Annotated[float, Field(ge=0, le=1)] | None = None
    class_thresholds: bool = False


def add_to(app: FastAPI, service: Service) -> None:
    """Add the endpoint."""

    async def classify(request: Request) -> Response:
        body = read(ClassifyBody, await service.bodies.read(request))
        run = service.run(body.model)
        texts = texts_of(body.texts, service.options, "texts")
        _check(body, run)
        request.state.facts = {"model": run.name, "texts": len(texts), "attribution": body.attribution}
        scored = await service.scores(run, texts)
        results = _results(body, run, scored.logits, scored.truncated)
        if body.attribution:
            named = [run.labels.index(result["label"]) for result in results]
            explained = await _words(service, run, texts, scored.logits, named)
            for result, words in zip(results, explained, strict=True):
                result["words"] = words
        return json_response({"model": run.name, "results": results})

    app.add_route("/classify", classify, ["POST"])


def _check(body: ClassifyBody, run: ServedRun) -> None:
    if body.attribution and len(body.texts) > MAX_EXPLAINED:
        raise TooLarge(f"`attribution`: expected at most {MAX_EXPLAINED} texts, found {len(body.texts):,}.")
    if body.attribution and max(map(len, body.texts)) > MAX_EXPLAINED_CHARACTERS:
        raise TooLarge(f"`attribution`: expected texts of at most {MAX_EXPLAINED_CHARACTERS:,} characters.")
    if body.class_thresholds and body.abstain_below is not None:
        raise Refusal("`class_thresholds`: expected no `abstain_below` beside it.")
    if body.class_thresholds and run.class_thresholds is None:
        raise Refusal("`class_thresholds`: no thresholds are chosen for this model; `report` chooses them.")


def _results(
    body: ClassifyBody, run: ServedRun, logits: np.ndarray, truncated: np.ndarray
) -> list[dict[str, Any]]:
    """Return the result of each text, without its words."""
    raw = probabilities_of(logits)
    calibrated = None if run.temperature is None else probabilities_of(logits / np.float32(run.temperature))
    if body.class_thresholds and run.class_thresholds is not None:
        chosen = run.class_thresholds.answers(raw)
    else:
        chosen = answers(raw, body.abstain_below or 0.0)
    answered = chosen != NONE
    best = np.where(answered, chosen, raw.argmax(axis=1))
    orders = np.argsort(-raw, axis=1, kind="stable")[:, : body.top_k].tolist()
    scores = raw.tolist()
    shown: Sequence[Sequence[float] | None] = [None] * len(raw) if calibrated is None else calibrated.tolist()
    return [
        {
            "label": run.labels[answer],
            "score": row[answer],
            "calibrated_score": None if fitted is None else fitted[answer],
            "abstained": not given,
            "truncated": cut,
            "scores": [
                {
                    "label": run.labels[place],
                    "score": row[place],
                    "calibrated_score": None if fitted is None else fitted[place],
                }
                for place in order
            ],
        }
        for answer, row, fitted, given, cut, order in zip(
            best.tolist(), scores, shown, answered.tolist(), truncated.tolist(), orders, strict=True
        )
    ]


async def _words(
    service: Service, run: ServedRun, texts: Sequence[str], logits: np.ndarray, named: Sequence[int]
) -> list[list[dict[str, Any]]]:
    """Explain the answers to N texts; the altered texts are classified in the same batches as everybody's texts.

    They wait as one request: in parts, an idle server could accept the first of them and refuse the rest.
    """
    pieces = [pieces_of(text) for text in texts]
    altered = [one for text, places in zip(texts, pieces, strict=True) for one in without(text, places)]
    if not altered:
        return [[] for _ in texts]
    scored = await service.scores(run, altered)
    parts = np.split(scored.logits, np.cumsum([len(places) for places in pieces])[:-1])
    return [
        weighed(text, places, whole, part, answer)
        for text, places, whole, part, answer in zip(texts, pieces, logits, parts, named, strict=True)
    ]
