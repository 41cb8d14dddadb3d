"""The answer of the Open Inference Protocol: the outputs that a request asks for, in JSON or in bytes after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import Response

from submillion.ship.serve.answers import ranked_places
from submillion.ship.serve.inference_inputs import JSON_LENGTH, InferBody
from submillion.ship.serve.refusals import Refusal
from submillion.ship.serve.service import json_response

OUTPUTS = ("label", "score", "probabilities")


@dataclass(frozen=True)
class Wanted:
    """An output in the form that a request asks for."""

    name: str
    binary: bool
    """Whether its data comes after the JSON."""
    classes: int
    """The most probable classes that stand in place of the probabilities (classification extension); 0 is off."""


def wanted_by(body: InferBody) -> list[Wanted]:
    """Return the outputs that a request asks for; without a choice, all.

    Parameters that ask for another form are followed or refused; others, such as priorities, are hints.

    Raises:
        Refusal: an unknown output, one twice, or a parameter of a wrong type.
    """
    binary = _flag(body.parameters, "parameters", "binary_data_output", False)
    if body.outputs is None:
        return [Wanted(name, binary, 0) for name in OUTPUTS]
    names = [output.name for output in body.outputs]
    if not names or len(set(names)) < len(names) or not set(names) <= set(OUTPUTS):
        raise Refusal(f"`outputs`: expected some of {', '.join(OUTPUTS)}, each once.")
    wanted = []
    for number, output in enumerate(body.outputs):
        place = f"outputs.{number}.parameters"
        if "shared_memory_region" in (output.parameters or {}):
            raise Refusal(f"`{place}`: shared memory is not supported. Take the outputs from the body.")
        classes = (output.parameters or {}).get("classification", 0)
        if not isinstance(classes, int) or isinstance(classes, bool) or classes < 0:
            raise Refusal(f"`{place}.classification`: expected a number of classes.")
        if classes and output.name != "probabilities":
            raise Refusal(f"`{place}.classification`: expected at the output 'probabilities' alone.")
        wanted.append(Wanted(output.name, _flag(output.parameters, place, "binary_data", binary), classes))
    return wanted


def _flag(parameters: dict[str, Any] | None, place: str, name: str, default: bool) -> bool:
    value = (parameters or {}).get(name, default)
    if not isinstance(value, bool):
        raise Refusal(f"`{place}.{name}`: expected true or false.")
    return value


def infer_response(
    answer: dict[str, Any], wanted: Sequence[Wanted], scores: np.ndarray, labels: Sequence[str]
) -> Response:
    """Return the answer to a request.

    Args:
        answer: its fields beside the outputs.
        wanted: the outputs.
        scores: of N texts, float32 [N, C].
        labels: C class names.
    """
    outputs: list[dict[str, Any]] = []
    after: list[bytes] = []
    for one in wanted:
        datatype, shape, data = _tensor(one, scores, labels)
        output: dict[str, Any] = {"name": one.name, "shape": shape, "datatype": datatype}
        if one.binary:
            after.append(_packed(datatype, data))
            output["parameters"] = {"binary_data_size": len(after[-1])}
        else:
            output["data"] = data
        outputs.append(output)
    response = json_response(answer | {"outputs": outputs})
    if not after:
        return response
    document = bytes(response.body)
    headers = {JSON_LENGTH: str(len(document))}
    return Response(document + b"".join(after), 200, headers, media_type="application/octet-stream")


def _tensor(one: Wanted, scores: np.ndarray, labels: Sequence[str]) -> tuple[str, list[int], list[Any]]:
    """Return datatype, shape and elements of an output."""
    best = scores.argmax(axis=1)
    count = len(scores)
    if one.name == "label":
        return "BYTES", [count], [labels[place] for place in best.tolist()]
    if one.name == "score":
        return "FP32", [count], scores[np.arange(count), best].tolist()
    if not one.classes:
        return "FP32", list(scores.shape), scores.ravel().tolist()
    orders = ranked_places(scores, one.classes)
    classes = [
        f"{row[place]}:{place}:{labels[place]}"
        for order, row in zip(orders, scores.tolist(), strict=True)
        for place in order
    ]
    return "BYTES", [count, len(orders[0])], classes


def _packed(datatype: str, data: Sequence[Any]) -> bytes:
    """Return elements in their binary form; that of BYTES has the length of each before it."""
    if datatype == "FP32":
        return np.array(data, dtype="<f4").tobytes()
    contents = [text.encode() for text in data]
    return b"".join(len(content).to_bytes(4, "little") + content for content in contents)
