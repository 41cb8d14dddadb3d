"""The Open Inference Protocol, version 2: `/v2` and below, texts as BYTES, labels and probabilities as outputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import Request, Response

from submillion.ship.serve.answers import scores_of
from submillion.ship.serve.models import ServedRun
from submillion.ship.serve.payload import Body, read, texts_of
from submillion.ship.serve.refusals import Refusal
from submillion.ship.serve.service import Service, json_response
from submillion.version import __version__

if TYPE_CHECKING:
    from fastapi import FastAPI

INPUT = "text"
OUTPUTS = ("label", "score", "probabilities")
UNSUPPORTED = {
    "binary_data_output": "binary data is not supported. Take the outputs as JSON",
    "binary_data": "binary data is not supported. Take the outputs as JSON",
    "classification": "the classification extension is not supported. Ask for the output 'probabilities'",
}
"""Parameters of requests and outputs that would change the answer, each with the words of its refusal."""


class Tensor(Body):
    """An input of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class Output(Body):
    """An output that a request asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferBody(Body):
    """The body of `/v2/models/NAME/infer`."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Output] | None = None
    parameters: dict[str, Any] | None = None


def add_to(app: FastAPI, service: Service) -> None:
    """Add the endpoints."""

    async def server(_: Request) -> Response:
        return json_response({"name": "submillion", "version": __version__, "extensions": []})

    async def live(_: Request) -> Response:
        return json_response({"live": True})

    async def ready(_: Request) -> Response:
        return json_response({"ready": service.ready}, 200 if service.ready else 503)

    async def model(request: Request) -> Response:
        return json_response(_metadata(service.run(request.path_params["name"])))

    async def model_ready(request: Request) -> Response:
        run = service.run(request.path_params["name"])
        return json_response({"name": run.name, "ready": service.ready}, 200 if service.ready else 503)

    async def infer(request: Request) -> Response:
        run = service.run(request.path_params["name"])
        body = read(InferBody, await service.bodies.read(request))
        _check_parameters(body)
        texts = _texts(body, service)
        wanted = _wanted(body)
        request.state.facts = {"model": run.name, "texts": len(texts)}
        scored = await service.scores(run, texts)
        outputs = _outputs(scores_of(scored.logits), run.labels)
        answer: dict[str, Any] = {"model_name": run.name, "model_version": run.sha256[:12]}
        if body.id is not None:
            answer["id"] = body.id
        return json_response({**answer, "outputs": [outputs[name] for name in wanted]})

    app.add_route("/v2", server, ["GET"])
    app.add_route("/v2/health/live", live, ["GET"])
    app.add_route("/v2/health/ready", ready, ["GET"])
    app.add_route("/v2/models/{name}", model, ["GET"])
    app.add_route("/v2/models/{name}/ready", model_ready, ["GET"])
    app.add_route("/v2/models/{name}/infer", infer, ["POST"])


def _metadata(run: ServedRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "versions": [run.sha256[:12]],
        "platform": "submillion",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(run.labels)]},
        ],
        "parameters": {"labels": run.labels},
    }


def _check_parameters(body: InferBody) -> None:
    """Refuse parameters that ask for answers in another form; others, such as priorities, are hints."""
    places = {"parameters": body.parameters}
    places |= {f"outputs.{at}.parameters": output.parameters for at, output in enumerate(body.outputs or [])}
    for place, parameters in places.items():
        for name, reason in UNSUPPORTED.items():
            if (parameters or {}).get(name):
                raise Refusal(f"`{place}.{name}`: {reason}.")


def _texts(body: InferBody, service: Service) -> list[str]:
    if len(body.inputs) != 1 or body.inputs[0].name != INPUT:
        raise Refusal(f"`inputs`: expected one input, named '{INPUT}'.")
    tensor = body.inputs[0]
    if tensor.datatype != "BYTES":
        raise Refusal("`inputs.0.datatype`: expected BYTES.")
    if tensor.parameters and "binary_data_size" in tensor.parameters:
        raise Refusal("`inputs.0.parameters`: binary data is not supported. Send the texts as JSON strings.")
    texts = texts_of(tensor.data, service.options, "inputs.0.data")
    shape = tensor.shape
    is_list = len(shape) == 1 or (len(shape) == 2 and 1 in shape)
    if not is_list or min(shape) < 0 or math.prod(shape) != len(texts):
        raise Refusal(f"`inputs.0.shape`: expected [{len(texts)}], the number of the texts.")
    return texts


def _wanted(body: InferBody) -> list[str]:
    if body.outputs is None:
        return list(OUTPUTS)
    names = [output.name for output in body.outputs]
    if not names or len(set(names)) < len(names) or not set(names) <= set(OUTPUTS):
        raise Refusal(f"`outputs`: expected some of {', '.join(OUTPUTS)}, each once.")
    return names


def _outputs(scores: np.ndarray, labels: list[str]) -> dict[str, dict[str, Any]]:
    best = scores.argmax(axis=1)
    count = len(scores)
    return {
        "label": {
            "name": "label",
            "shape": [count],
            "datatype": "BYTES",
            "data": [labels[place] for place in best.tolist()],
        },
        "score": {
            "name": "score",
            "shape": [count],
            "datatype": "FP32",
            "data": scores[np.arange(count), best].tolist(),
        },
        "probabilities": {
            "name": "probabilities",
            "shape": list(scores.shape),
            "datatype": "FP32",
            "data": scores.ravel().tolist(),
        },
    }
