"""Reads the JSON of requests: strictly typed, every refusal one sentence that quotes no text."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from submillion.errors import BadInput
from submillion.files.strict_json import parse
from submillion.ship.serve.options import ServeOptions
from submillion.ship.serve.refusals import Refusal, TooLarge

Model = TypeVar("Model", bound=BaseModel)


class Body(BaseModel):
    """A JSON object in which nothing is converted, ignored or unknown."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


def read(kind: type[Model], body: bytes) -> Model:
    """Return a request's body as an object of one type.

    Raises:
        Refusal: it is not utf-8, not JSON as `strict_json.parse` wants it, or not of this type.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(f"The body is not in utf-8 (byte {error.start}).") from None
    try:
        value = parse(text, "the body")
    except BadInput as error:
        problem = error.problems[0]
        found = problem.found
        if found.startswith("a text that is not JSON"):
            # The parser's message may quote what it stopped at, which may be a part of a text.
            at = re.search(r"line \d+ column \d+", found)
            found = "a text that is not JSON" + (f" ({at[0]})" if at else "")
        raise Refusal(f"The body: expected {problem.expected}, found {found}.") from None
    if not isinstance(value, dict):
        raise Refusal("The body: expected a JSON object.")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))[:80] or "the body"
        words = "there is no such field" if first["type"] == "extra_forbidden" else first["msg"]
        raise Refusal(f"`{place}`: {words}.") from None


def texts_of(value: Any, options: ServeOptions, name: str) -> list[str]:
    """Return a list of texts within the limits.

    Args:
        value: what the request has in the place of the texts.
        options: the limits.
        name: the field's name, for messages.

    Raises:
        Refusal: not a list of strings, or an empty one.
        TooLarge: too many texts, or one that is too long.
    """
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Refusal(f"`{name}`: expected a list of strings.")
    if not value:
        raise Refusal(f"`{name}` cannot be empty.")
    if len(value) > options.max_texts:
        raise TooLarge(f"`{name}`: expected at most {options.max_texts:,} texts, found {len(value):,}.")
    longest = max(map(len, value))
    if longest > options.max_characters:
        raise TooLarge(
            f"`{name}`: expected texts of at most {options.max_characters:,} characters, found {longest:,}."
        )
    return value
