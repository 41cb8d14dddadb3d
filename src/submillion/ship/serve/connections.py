"""HTTP connections that cannot be held open by a client that sends nothing, or half of its headers."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
"""Time within which the headers of a request must have arrived, from its first byte or the connection on."""
MAX_CONNECTIONS = 1000
"""Beyond this number, the connection that has waited longest for a request is closed."""


class BoundedProtocol(H11Protocol):
    """uvicorn's connection, with a limit on the time and the number of those that are not being served."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time for the first request; close the oldest idle connection if there are too many."""
        super().connection_made(transport)
        waiting = self._waiting_connections()
        waiting[self] = None
        if len(self.connections) > MAX_CONNECTIONS:
            next(iter(waiting)).expire()
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        """Receive bytes of a request."""
        super().data_received(data)
        if self._is_waiting():
            self._await_headers()
        else:
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """The connection waits for its next request; uvicorn's own limit applies until its first byte."""
        super().on_response_complete()
        if self._is_waiting() and not self.transport.is_closing():
            self._waiting_connections()[self] = None

    def expire(self) -> None:
        """Close the connection if it is still waiting."""
        self._forget()
        if self._is_waiting() and not self.transport.is_closing():
            self.transport.close()

    def _is_waiting(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_headers(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.expire)
        self._waiting_connections()[self] = None

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._waiting_connections().pop(self, None)

    def _waiting_connections(self) -> dict[BoundedProtocol, None]:
        """Return the connections of this server that wait for a request, the oldest first."""
        state: Any = self.server_state
        if not hasattr(state, "waiting_connections"):
            state.waiting_connections = {}
        return cast("dict[BoundedProtocol, None]", state.waiting_connections)
