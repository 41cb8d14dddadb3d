"""What a run has to say for itself: each slower path, left-out row or choice, said once, kept for the manifest."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_kept: list[dict[str, Any]] = []
_quiet = False


def say(code: str, text: str, **facts: Any) -> None:
    """Keep a notice and print it to stderr, once per distinct (code, text).

    Args:
        code: short stable name, such as `precision` or `train_rows_in_test`.
        text: one plain sentence for the user.
        facts: numbers behind the sentence, kept beside it in the manifest.
    """
    if any(kept["code"] == code and kept["text"] == text for kept in _kept):
        return
    _kept.append({"code": code, "text": text, **facts})
    if not _quiet:
        print(f"note: {text}", file=sys.stderr, flush=True)


def taken() -> list[dict[str, Any]]:
    """Return the notices so far, in the order they were said."""
    return [dict(notice) for notice in _kept]


def clear() -> None:
    """Forget all notices; a new run starts with none."""
    _kept.clear()


def recall(kept: Iterable[dict[str, Any]]) -> None:
    """Take up the notices of a run that goes on; they were said before."""
    _kept[:] = [dict(notice) for notice in kept]


def set_quiet(quiet: bool) -> None:
    """Stop (or resume) printing; notices are kept either way."""
    global _quiet
    _quiet = quiet


@contextmanager
def held_back() -> Iterator[None]:
    """Drop what is said inside: it was said, and kept, when the same thing was done before."""
    global _quiet
    before, quiet = list(_kept), _quiet
    _quiet = True
    try:
        yield
    finally:
        _quiet = quiet
        _kept[:] = before
