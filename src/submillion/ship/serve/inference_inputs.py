"""The request of the Open Inference Protocol: its JSON, and texts from there or from the bytes after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from submillion.ship.serve.options import ServeOptions
from submillion.ship.serve.payload import Body, read, texts_of
from submillion.ship.serve.refusals import Refusal, TooLarge

INPUT = "text"
JSON_LENGTH = "Inference-Header-Content-Length"
"""The header with the bytes of the JSON, in requests and answers in which binary data follows it."""
_SIZE = "`inputs.0.parameters.binary_data_size`"


class Tensor(Body):
    """An input of a request; its texts are in `data`, or after the JSON if it has the parameter `binary_data_size`."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class Output(Body):
    """An output that a request asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferBody(Body):
    """The JSON of `/v2/models/NAME/infer`; `model_name`, which is in the path, is what KServe's client adds."""

    inputs: list[Tensor]
    id: str | None = None
    model_name: str | None = None
    outputs: list[Output] | None = None
    parameters: dict[str, Any] | None = None


def read_request(content: bytes, json_lengths: Sequence[str]) -> tuple[InferBody, memoryview]:
    """Return the JSON of a request, and the bytes after it.

    Args:
        content: the body.
        json_lengths: every header `JSON_LENGTH` of the request; a request without one is JSON alone.

    Raises:
        Refusal: two headers, one that is no number or exceeds the body, or refused JSON; see `payload.read`.
    """
    end = len(content)
    if json_lengths:
        given = json_lengths[0]
        if len(json_lengths) > 1 or not (given.isascii() and given.isdigit() and len(given) < 20):
            raise Refusal(f"`{JSON_LENGTH}`: expected one number, the bytes of the JSON.")
        end = int(given)
        if end > len(content):
            raise Refusal(
                f"`{JSON_LENGTH}`: expected at most the body's {len(content):,} bytes, found {end:,}."
            )
    return read(InferBody, content[:end]), memoryview(content)[end:]


def texts_in(body: InferBody, after: memoryview, options: ServeOptions) -> list[str]:
    """Return the texts of a request.

    Args:
        body: the JSON.
        after: the bytes after it.
        options: the limits.

    Raises:
        Refusal: not one input of texts, or its data, its binary data and its shape do not agree.
        TooLarge: too many texts, or one that is too long.
    """
    if len(body.inputs) != 1 or body.inputs[0].name != INPUT:
        raise Refusal(f"`inputs`: expected one input, named '{INPUT}'.")
    tensor = body.inputs[0]
    if tensor.datatype != "BYTES":
        raise Refusal("`inputs.0.datatype`: expected BYTES.")
    parameters = tensor.parameters or {}
    if "shared_memory_region" in parameters:
        raise Refusal("`inputs.0.parameters`: shared memory is not supported. Send the texts in the body.")
    if "binary_data_size" not in parameters:
        if len(after):
            raise Refusal(f"{_SIZE}: expected {len(after):,}, the bytes after the JSON, found none.")
        if tensor.data is None:
            raise Refusal("`inputs.0.data`: expected the texts.")
        texts = texts_of(_flat(tensor), options, "inputs.0.data")
        if _count(tensor.shape) != len(texts):
            raise Refusal(f"`inputs.0.shape`: expected [{len(texts)}], the number of the texts.")
        return texts
    if tensor.data is not None:
        raise Refusal("`inputs.0.data`: expected none beside `binary_data_size`.")
    _check_size(parameters["binary_data_size"], len(after))
    return _binary(tensor.shape, after, options)


def _count(shape: list[int]) -> int:
    """Return the number of texts of a shape such as [2], [2, 1] or [1, 2]; -1 if it is no list of texts."""
    is_list = len(shape) == 1 or (len(shape) == 2 and 1 in shape)
    return math.prod(shape) if is_list and min(shape) >= 0 else -1


def _flat(tensor: Tensor) -> list[Any]:
    """Return the data in one list; that of a shape such as [2, 1] may be nested: [["a"], ["b"]]."""
    data = tensor.data or []
    if len(tensor.shape) != 2 or not data or not all(isinstance(row, list) for row in data):
        return data
    if [len(data), *{len(row) for row in data}] != tensor.shape:
        raise Refusal("`inputs.0.data`: expected lists in the shape that `inputs.0.shape` has.")
    return [text for row in data for text in row]


def _check_size(size: Any, found: int) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise Refusal(f"{_SIZE}: expected a whole number of bytes, 0 or more.")
    if size != found:
        remedy = f"The header {JSON_LENGTH} says where the JSON ends."
        raise Refusal(f"{_SIZE}: expected {found:,}, the bytes after the JSON, found {size:,}. {remedy}")


def _binary(shape: list[int], content: memoryview, options: ServeOptions) -> list[str]:
    """Return as many texts as a shape has; each is its length in four bytes, little-endian, and its utf-8."""
    count = _count(shape)
    if count < 0:
        raise Refusal("`inputs.0.shape`: expected [N] for N texts.")
    if count > options.max_texts:
        raise TooLarge(f"`inputs.0.shape`: expected at most {options.max_texts:,} texts, found {count:,}.")
    texts, at = [], 0
    for number in range(count):
        start = at + 4
        if start > len(content):
            found = f"{number} and {len(content) - at} bytes" if at < len(content) else f"{number}"
            raise Refusal(f"`inputs.0`: expected {count} texts, as in its shape, found {found}.")
        at = start + int.from_bytes(content[at:start], "little")
        if at > len(content):
            left = len(content) - start
            raise Refusal(
                f"`inputs.0`: text {number} has a length of {at - start:,} bytes, and {left:,} follow."
            )
        texts.append(_decoded(content[start:at], number))
    if at < len(content):
        left = len(content) - at
        raise Refusal(
            f"`inputs.0`: expected {count} texts, as in its shape, found {left:,} bytes after them."
        )
    return texts_of(texts, options, "inputs.0")


def _decoded(content: memoryview, number: int) -> str:
    try:
        text = str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(f"`inputs.0`: text {number} is not in utf-8 (byte {error.start}).") from None
    if "\0" in text:
        # It would be classified, but hardly as what its author wrote.
        remedy = "Send utf-8 without padding."
        raise Refusal(f"`inputs.0`: text {number} has a NUL byte, as utf-16 and padded texts have. {remedy}")
    return text
