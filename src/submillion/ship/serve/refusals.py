"""The reasons for which a request gets no answer, with the status and the error type that clients expect."""

from __future__ import annotations


class Refusal(Exception):
    """A request that gets an error; the message is for the client and never quotes a text."""

    status = 422
    kind = "Validation"
    retry_after: int | None = None
    close = False
    """Whether the connection ends with the answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status


class TooLarge(Refusal):
    """A body, a text or a list of texts beyond its limit."""

    status = 413


class Unauthorized(Refusal):
    """The bearer token is missing or wrong."""

    status = 401
    kind = "Unauthorized"


class Untokenizable(Refusal):
    """The tokenizer cannot tokenize a text."""

    kind = "Tokenizer"


class Failed(Refusal):
    """The classifier failed on these texts."""

    status = 424
    kind = "Backend"


class Overloaded(Refusal):
    """Too many texts wait already."""

    status = 429
    kind = "Overloaded"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Stopping(Refusal):
    """The server is stopping, or a body has not arrived in time."""

    status = 503
    kind = "Unhealthy"
    retry_after = 1
    close = True
