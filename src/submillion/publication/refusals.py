"""The failures of the hub during a push, as messages: each with its own remedy."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, errors

from submillion.errors import BadInput, Problem, SubmillionError
from submillion.sources.hub import connection_errors
from submillion.wording import excerpt

LOG_IN = "Use a token that may write there: hf auth login (or set HF_TOKEN)."
AGAIN = "Nothing of it was committed; run the same command again."
LONGEST = 300
FAILURES: tuple[type[Exception], ...] = (*connection_errors(), ValueError, RuntimeError)
"""What a push may raise; refusals by the hub are OSErrors."""


@contextmanager
def refusals(repository: str, revision: str | None) -> Iterator[None]:
    """Turn what the hub refuses into messages.

    Args:
        repository: `name/repository`.
        revision: the branch that the user named.

    Raises:
        BadInput: the hub refuses or does not answer.
        SubmillionError: a file here could not be read.
    """
    try:
        yield
    except SubmillionError:
        raise
    except FAILURES as error:
        raise _message(repository, revision, _root(error)) from error


def _root(error: BaseException) -> BaseException:
    """Return the hub's refusal, or the broken connection, that another error of its library wraps."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, connection_errors()):
            return at
        at = at.__cause__
    return error


def _message(repository: str, revision: str | None, error: BaseException) -> SubmillionError:
    """Return the message of a failure."""
    if isinstance(error, errors.RevisionNotFoundError):
        return BadInput(Problem("@{revision}", f"a branch of {repository}", f"no branch '{revision}'"))
    if isinstance(error, errors.HFValidationError):
        return BadInput(Problem("@{repository}", "name/repository", _line(error)))
    if isinstance(error, errors.HfHubHTTPError):
        return BadInput(_problem_of_status(repository, error))
    if isinstance(error, PermissionError) and error.errno is None:  # of the storage for large files
        return BadInput(Problem(repository, "a repository that the token may write to", _line(error), LOG_IN))
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.EACCES, errno.EIO):
        return SubmillionError(f"a file of the push could not be read: {error}")
    if constants.HF_HUB_OFFLINE:
        return BadInput(Problem("push", "access to the hub", "HF_HUB_OFFLINE set", "Unset it."))
    if isinstance(error, connection_errors()):
        remedy = "Run the same command again; what has arrived is not sent twice."
        expected = f"an answer of the hub ({constants.ENDPOINT})"
        return BadInput(Problem(repository, expected, f"none ({_line(error)})", remedy))
    # The hub's libraries raise ValueError or RuntimeError for metadata that the hub refuses, for answers that they
    # cannot read, and for failures of its storage for large files.
    expected = f"that the hub ({constants.ENDPOINT}) takes the files"
    return BadInput(Problem(repository, expected, _line(error), AGAIN))


def _problem_of_status(repository: str, error: errors.HfHubHTTPError) -> Problem:
    """Return the message of a refusal by its HTTP status."""
    status = error.response.status_code
    answer = f"HTTP {status}: {_line(error.server_message or error)}"
    if status in (401, 403):
        return Problem(repository, "a repository that the token may write to", answer, LOG_IN)
    if status in (409, 412):
        remedy = "Somebody else may be changing it at this moment. " + AGAIN
        return Problem(repository, "a repository that accepts a commit", answer, remedy)
    if status == 429:
        remedy = "The hub limits requests. Wait; then run the same command again."
        return Problem(repository, "an answer of the hub", answer, remedy)
    if status >= 500:
        return Problem(repository, f"an answer of the hub ({constants.ENDPOINT})", answer, AGAIN)
    return Problem(repository, "that the hub takes the files", answer)


def _line(error: object) -> str:
    return excerpt(" ".join(str(error).split()), LONGEST)
