"""Writes one JSON object per line about requests and events, never a text, a token or a query."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("submillion.serve")


def event(name: str, level: int = logging.INFO, **facts: Any) -> None:
    """Write a line.

    Args:
        name: what happened.
        level: of the logging module.
        facts: values for JSON; nothing that a client wrote.
    """
    LOGGER.log(level, name, extra={"facts": facts})


def failure(name: str, error: BaseException) -> None:
    """Write where an error was raised, without its message, which may quote a text."""
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-6:]]
    event(name, logging.ERROR, error=type(error).__name__, raised_at=places)


class _AsJson(logging.Formatter):
    """Formats a record as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "process": record.process,
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, default=str)


def configure() -> None:
    """Send this server's lines, and those of uvicorn, to standard error; for a process that only serves."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_AsJson())
    for name in ("submillion.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
