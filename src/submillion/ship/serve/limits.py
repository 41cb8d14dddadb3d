"""Reads the bodies of requests: bounded in bytes, in time, and in the memory that all of them take together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from submillion.ship.serve.content_encoding import decompressed
from submillion.ship.serve.refusals import Overloaded, Refusal, Stopping, TooLarge

if TYPE_CHECKING:
    from fastapi import Request

BODY_SECONDS = 20.0
"""Time within which a body must have arrived."""
ALL_BODIES = 64 * 2**20
"""Bytes of the bodies that are being received at one time."""


class Bodies:
    """The bodies that are being received."""

    def __init__(self, max_bytes: int, seconds: float = BODY_SECONDS) -> None:
        """Set the limits.

        Args:
            max_bytes: of one body.
            seconds: for one body.
        """
        self._max_bytes, self._seconds = max_bytes, seconds
        self._held = 0
        self._arriving: set[asyncio.Timeout] = set()
        self._stopping = False

    def stop(self) -> None:
        """Refuse the bodies that are not complete: their requests were never accepted."""
        self._stopping = True
        for timeout in self._arriving:
            timeout.reschedule(0)

    async def read(self, request: Request) -> bytes:
        """Return a request's body, decompressed; its bytes are counted as they arrive, whatever Content-Length says.

        Raises:
            TooLarge: it has more bytes than allowed, as it arrives or decompressed. The rest is not read.
            Overloaded: all bodies together take too much memory.
            Stopping: the server is stopping.
            Refusal: it did not arrive in time (408), the client has gone, or it cannot be decompressed.
        """
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > self._max_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds) as timeout:
                self._arriving.add(timeout)
                try:
                    body = await self._read(request)
                finally:
                    self._arriving.discard(timeout)
        except TimeoutError:
            if self._stopping:
                raise Stopping("The server is stopping.") from None
            raise _closing(
                Refusal(f"The body did not arrive within {self._seconds:g} seconds.", 408)
            ) from None
        return decompressed(body, request.headers.get("content-encoding", ""), self._max_bytes)

    async def _read(self, request: Request) -> bytes:
        body = bytearray()
        try:
            more = True
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Refusal("The client has gone.", 400)
                part = message.get("body", b"")
                self._held += len(part)
                body += part
                more = message.get("more_body", False)
                if len(body) > self._max_bytes:
                    raise self._too_large()
                if more and self._held > ALL_BODIES:
                    raise _closing(Overloaded("Too many large requests are arriving. Try again later.", 1))
            return bytes(body)
        finally:
            self._held -= len(body)

    def _too_large(self) -> Refusal:
        return _closing(TooLarge(f"The body: expected at most {self._max_bytes:,} bytes."))


def _closing(refusal: Refusal) -> Refusal:
    refusal.close = True
    return refusal
