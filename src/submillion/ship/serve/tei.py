"""The endpoints of text-embeddings-inference: `/predict`, `/info`, `/health` and `/metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fastapi import Request, Response

from submillion.ship.serve.answers import ranked, scores_of
from submillion.ship.serve.batcher import BATCH_TEXTS, BATCH_TOKENS
from submillion.ship.serve.metrics import CONTENT_TYPE
from submillion.ship.serve.models import ServedRun
from submillion.ship.serve.payload import Body, read, texts_of
from submillion.ship.serve.refusals import Refusal
from submillion.ship.serve.service import Service, json_response
from submillion.version import __version__

if TYPE_CHECKING:
    from fastapi import FastAPI


class PredictBody(Body):
    """The body of `/predict`, with `model` added."""

    inputs: Any
    raw_scores: bool = False
    truncate: bool | None = None
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = None
    model: str | None = None


def add_to(app: FastAPI, service: Service) -> None:
    """Add the endpoints."""

    async def predict(request: Request) -> Response:
        body = read(PredictBody, await service.bodies.read(request))
        run = service.run(body.model)
        texts, single = _inputs(body.inputs, service)
        _check_direction(body.truncation_direction, run)
        request.state.facts = {"model": run.name, "texts": len(texts)}
        scored = await service.scores(run, texts, body.truncate is not False)
        rows = ranked(scores_of(scored.logits, "none" if body.raw_scores else "softmax"), run.labels)
        return json_response(rows[0] if single else rows)

    async def info(request: Request) -> Response:
        return json_response(_info(service, service.run(request.path_params.get("name"))))

    async def health(request: Request) -> Response:
        service.run(request.path_params.get("name"))
        if not service.ready:
            raise Refusal("A classifier does not run.", 503)
        return Response(status_code=200)

    async def metrics(_: Request) -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    app.add_route("/predict", predict, ["POST"])
    for prefix in ("", "/models/{name}"):  # huggingface_hub's client adds these to the URL of a model
        app.add_route(f"{prefix}/info", info, ["GET"])
        app.add_route(f"{prefix}/health", health, ["GET"])
    app.add_route("/metrics", metrics, ["GET"])


def _inputs(inputs: Any, service: Service) -> tuple[list[str], bool]:
    """Return the texts, and whether the answer is that of one text.

    `"a"` is one text and `[["a"], ["b"]]` are two. `["a", "b"]` is one pair of texts in this protocol.
    """
    if isinstance(inputs, str):
        return texts_of([inputs], service.options, "inputs"), True
    if not isinstance(inputs, list):
        raise Refusal('`inputs`: expected a string, or a list such as [["a"], ["b"]].')
    if not inputs:
        raise Refusal("`inputs` cannot be empty.")
    if all(isinstance(item, str) for item in inputs):
        if len(inputs) == 1:
            return texts_of(inputs, service.options, "inputs"), True
        raise Refusal(
            "`inputs`: a list of two strings is one pair of texts, and this classifier takes single texts. For several "
            'texts, send [["a"], ["b"]].'
        )
    if not all(isinstance(item, list) and len(item) == 1 for item in inputs):
        raise Refusal('`inputs`: expected lists of one string each, such as [["a"], ["b"]].')
    return texts_of([item[0] for item in inputs], service.options, "inputs"), False


def _check_direction(direction: str | None, run: ServedRun) -> None:
    """Refuse to cut texts on another side than in training."""
    if direction is None:
        return
    side, windows = run.opened.tokenizer.truncation_side, run.opened.truncation.windows
    if windows != "first" or direction.lower() != side:
        kept = {"first": f"on the {side}", "head_tail": "in their middle", "all": "nowhere"}[windows]
        raise Refusal(f"`truncation_direction`: this model cuts long texts {kept}, as in training.")


def _info(service: Service, run: ServedRun) -> dict[str, Any]:
    options, labels = service.options, run.labels
    return {
        "model_id": run.name,
        "model_sha": run.sha256,
        "model_dtype": run.opened.execution.precision.dtype_name,
        "model_type": {
            "classifier": {
                "id2label": {str(place): label for place, label in enumerate(labels)},
                "label2id": {label: place for place, label in enumerate(labels)},
            }
        },
        "max_concurrent_requests": options.max_queue,
        "max_input_length": run.opened.truncation.max_length,
        "max_batch_tokens": BATCH_TOKENS,
        "max_batch_requests": BATCH_TEXTS,
        "max_client_batch_size": options.max_texts,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "models": [
            {
                "name": one.name,
                "labels": one.labels,
                "report": one.run.report.is_file(),
                "card": one.run.card.is_file(),
                "abstain_below": one.threshold,
                "class_thresholds": None if one.class_thresholds is None else one.class_thresholds.objective,
                "calibrated": one.temperature is not None,
                "attribution": True,
            }
            for one in service.runs.values()
        ],
    }
