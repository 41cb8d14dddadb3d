"""The Open Inference Protocol, version 2: `/v2` and below, texts as BYTES, labels and probabilities as outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Request, Response

from submillion.ship.serve.answers import scores_of
from submillion.ship.serve.inference_inputs import INPUT, JSON_LENGTH, read_request, texts_in
from submillion.ship.serve.inference_outputs import infer_response, wanted_by
from submillion.ship.serve.models import ServedRun
from submillion.ship.serve.refusals import Refusal
from submillion.ship.serve.service import Service, json_response
from submillion.version import __version__

if TYPE_CHECKING:
    from fastapi import FastAPI

EXTENSIONS = ["binary_tensor_data", "classification"]
"""The extensions that this server has, under the names that Triton has given them."""


def add_to(app: FastAPI, service: Service) -> None:
    """Add the endpoints."""

    async def server(_: Request) -> Response:
        return json_response({"name": "submillion", "version": __version__, "extensions": EXTENSIONS})

    async def live(_: Request) -> Response:
        return json_response({"live": True})

    async def ready(_: Request) -> Response:
        return json_response({"ready": service.ready}, 200 if service.ready else 503)

    async def model(request: Request) -> Response:
        return json_response(_metadata(_run(request, service)))

    async def model_ready(request: Request) -> Response:
        run = _run(request, service)
        return json_response({"name": run.name, "ready": service.ready}, 200 if service.ready else 503)

    async def infer(request: Request) -> Response:
        run = _run(request, service)
        content = await service.bodies.read(request)
        body, after = read_request(content, request.headers.getlist(JSON_LENGTH))
        if body.model_name not in (None, run.name):
            raise Refusal(f"`model_name`: expected '{run.name}', as in the path.")
        wanted = wanted_by(body)
        texts = texts_in(body, after, service.options)
        request.state.facts = {"model": run.name, "texts": len(texts)}
        scored = await service.scores(run, texts)
        answer: dict[str, Any] = {"model_name": run.name, "model_version": _version(run)}
        if body.id is not None:
            answer["id"] = body.id
        return infer_response(answer, wanted, scores_of(scored.logits), run.labels)

    app.add_route("/v2", server, ["GET"])
    app.add_route("/v2/health/live", live, ["GET"])
    app.add_route("/v2/health/ready", ready, ["GET"])
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        app.add_route(path, model, ["GET"])
        app.add_route(f"{path}/ready", model_ready, ["GET"])
        app.add_route(f"{path}/infer", infer, ["POST"])


def _run(request: Request, service: Service) -> ServedRun:
    """Return the run that a path names."""
    run = service.run(request.path_params["name"])
    if request.path_params.get("version", _version(run)) != _version(run):
        raise Refusal(
            f"There is no such version. This server has version {_version(run)} of '{run.name}'.", 404
        )
    return run


def _version(run: ServedRun) -> str:
    return run.sha256[:12]


def _metadata(run: ServedRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "versions": [_version(run)],
        "platform": "submillion",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(run.labels)]},
        ],
        "parameters": {"labels": run.labels},
    }
