"""The endpoint that huggingface_hub's `InferenceClient.text_classification` calls: POST `/` and `/models/NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Request, Response
from pydantic import Field

from submillion.ship.serve.answers import Function, ranked, scores_of
from submillion.ship.serve.payload import Body, read, texts_of
from submillion.ship.serve.service import Service, json_response

if TYPE_CHECKING:
    from fastapi import FastAPI


class Parameters(Body):
    """The parameters of a text classification."""

    top_k: Annotated[int, Field(ge=1)] | None = None
    function_to_apply: Function | None = None
    truncation: bool | None = None


class HubBody(Body):
    """The body of the client's request."""

    inputs: Any
    parameters: Parameters | None = None


def add_to(app: FastAPI, service: Service) -> None:
    """Add the endpoint under both paths; the answer is a list with one list of labels for each text."""

    async def classify(request: Request) -> Response:
        body = read(HubBody, await service.bodies.read(request))
        run = service.run(request.path_params.get("name"))
        inputs = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        texts = texts_of(inputs, service.options, "inputs")
        parameters = body.parameters or Parameters()
        request.state.facts = {"model": run.name, "texts": len(texts)}
        scored = await service.scores(run, texts, parameters.truncation is not False)
        scores = scores_of(scored.logits, parameters.function_to_apply or "softmax")
        return json_response(ranked(scores, run.labels, parameters.top_k))

    app.add_route("/", classify, ["POST"])
    app.add_route("/models/{name}", classify, ["POST"])
