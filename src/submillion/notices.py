"""Notices: every fallback, dropped row and automatic choice, printed once and recorded in the manifest."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from submillion.wording import printable


@dataclass
class _Collector:
    """The notices of one call."""

    printing: bool
    notices: list[dict[str, Any]] = field(default_factory=list)


# A context variable, so that calls in two threads of one process never mix their notices.
_collector: ContextVar[_Collector | None] = ContextVar("submillion_notices", default=None)


@contextmanager
def collecting(quiet: bool | None = None) -> Iterator[None]:
    """Collect the notices of a call, starting with none; the caller's own are back afterwards.

    Args:
        quiet: do not print them; None does as the enclosing call does.
    """
    enclosing = _collector.get()
    inherited = enclosing.printing if enclosing else True
    token = _collector.set(_Collector(inherited if quiet is None else not quiet))
    try:
        yield
    finally:
        _collector.reset(token)


def emit(code: str, text: str, **facts: Any) -> None:
    """Record a notice and print it to standard error, once per distinct (code, text) of a call.

    Args:
        code: short stable name, such as `precision` or `train_rows_in_test`.
        text: one plain sentence for the user; control characters that it quotes from a file are escaped.
        facts: the numbers behind the sentence, for the manifest.
    """
    text = printable(text)
    collector = _collector.get() or _Collector(printing=True)
    if any(notice["code"] == code and notice["text"] == text for notice in collector.notices):
        return
    collector.notices.append({"code": code, "text": text, **facts})
    if collector.printing:
        print(f"note: {text}", file=sys.stderr, flush=True)


def collected() -> list[dict[str, Any]]:
    """Return the notices of this call so far, in order; none outside `collecting`."""
    collector = _collector.get()
    return [dict(notice) for notice in collector.notices] if collector else []


def restore(notices: Iterable[dict[str, Any]]) -> None:
    """Replace the notices of this call by those of the run that it continues, without printing them again."""
    if collector := _collector.get():
        collector.notices[:] = [dict(notice) for notice in notices]


def repeat(notices: Iterable[dict[str, Any]]) -> None:
    """Give notices that another call has collected as those of this one."""
    for notice in notices:
        facts = {key: value for key, value in notice.items() if key not in ("code", "text")}
        emit(notice["code"], notice["text"], **facts)


def mute() -> None:
    """Stop printing the notices of this call; they are still recorded."""
    if collector := _collector.get():
        collector.printing = False


@contextmanager
def suppressed() -> Iterator[None]:
    """Neither print nor record notices: repeated work would only repeat those of the first time."""
    with collecting(quiet=True):
        yield
