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
    except errors.RevisionNotFoundError as error:
        raise BadInput(
            Problem("@{revision}", f"a branch of {repository}", f"no branch '{revision}'")
        ) from error
    except errors.HFValidationError as error:
        raise BadInput(Problem("@{repository}", "name/repository", _line(error))) from error
    except errors.HfHubHTTPError as error:
        raise BadInput(_problem_of_status(repository, error)) from error
    except connection_errors() as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.EACCES, errno.EIO):
            raise SubmillionError(f"a file of the push could not be read: {error}") from error
        if constants.HF_HUB_OFFLINE:
            problem = Problem("push", "access to the hub", "HF_HUB_OFFLINE set", "Unset it.")
        else:
            found = f"none ({_line(error)})"
            remedy = "Run the same command again; what has arrived is not sent twice."
            problem = Problem(repository, f"an answer of the hub ({constants.ENDPOINT})", found, remedy)
        raise BadInput(problem) from error
    except (ValueError, RuntimeError) as error:
        # The hub's libraries raise these for metadata that it refuses, answers that they cannot read, and failures of
        # its storage for large files.
        expected = f"that the hub ({constants.ENDPOINT}) takes the files"
        raise BadInput(Problem(repository, expected, _line(error), AGAIN)) from error


def _problem_of_status(repository: str, error: errors.HfHubHTTPError) -> Problem:
    """Return the message of a refusal by its HTTP status."""
    status = error.response.status_code
    answer = f"HTTP {status}: {_line(error.server_message or error)}"
    if status in (401, 403):
        return Problem(repository, "a repository that the token may write to", answer, LOG_IN)
    if status == 404:
        return Problem(repository, "a repository that the token can see", answer, LOG_IN)
    if status == 409:
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
