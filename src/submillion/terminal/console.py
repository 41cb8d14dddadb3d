"""Prints text on a terminal, so that nothing that comes from a file or a library can control the terminal."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Any, cast

from submillion.wording import printable


def say(text: object, *, err: bool = False) -> None:
    """Print a text of one or more lines; other control characters, and what the encoding lacks, become escapes.

    Args:
        text: lines of our own. A text from a file that may contain newlines goes through `printable` before.
        err: print to standard error.
    """
    stream = sys.stderr if err else sys.stdout
    print(_encodable(printable(text, keep="\n"), stream), file=stream, flush=True)


def for_terminal(stream: IO[str]) -> IO[str]:
    """Return a text stream; one at a terminal escapes control characters but newlines and tabs, and what it lacks.

    A file or a pipe receives every character: another program may need it.
    """
    return cast("IO[str]", _TerminalStream(stream)) if stream.isatty() else stream


@contextmanager
def guarded() -> Iterator[None]:
    """Escape control characters in warnings, log messages and tracebacks of this process.

    Libraries quote texts and class names in these, and Python prints them as they are. For the command line only: a
    library does not change its caller's process. The hook for tracebacks stays, because Python calls it after the end
    of the block.
    """
    formatwarning, record_factory = warnings.formatwarning, logging.getLogRecordFactory()

    def format_warning(*arguments: Any, **options: Any) -> str:
        return printable(formatwarning(*arguments, **options), keep="\n")

    warnings.formatwarning = format_warning
    logging.setLogRecordFactory(_PrintableRecord)
    sys.excepthook = _print_traceback
    try:
        yield
    finally:
        warnings.formatwarning = formatwarning
        logging.setLogRecordFactory(record_factory)


class _TerminalStream:
    """Writes to a text stream, without the control characters."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(_encodable(printable(text, keep="\n\t"), self._stream))

    def flush(self) -> None:
        self._stream.flush()


class _PrintableRecord(logging.LogRecord):
    """A log record whose message is safe to print."""

    def getMessage(self) -> str:
        return printable(super().getMessage(), keep="\n")


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    say("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"), err=True)


def _encodable(text: str, stream: IO[str]) -> str:
    """Return a text with escapes for the characters that a stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
