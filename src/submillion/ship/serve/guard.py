"""The outermost layer of the server: host, token, security headers, errors of the protocol's shape, one log line."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import Response
from starlette.routing import Match

from submillion.ship.serve import logs
from submillion.ship.serve.options import LOOPBACK_NAMES, ServeOptions
from submillion.ship.serve.refusals import Failed, Refusal, Stopping, Unauthorized
from submillion.ship.serve.service import Service, json_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = frozenset(("/health", "/v2/health/live", "/v2/health/ready"))
"""Paths that answer without a token, like the page and its files."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Guard:
    """Wraps the app; every answer of the server passes it."""

    def __init__(self, app: ASGIApp, service: Service, options: ServeOptions) -> None:
        """Prepare.

        Args:
            app: the app.
            service: for the counters.
            options: host and token.
        """
        self._app, self._service = app, service
        self._token = None if options.token is None else options.token.encode()
        # A page from elsewhere may get a name of its own resolved to 127.0.0.1; its requests have that name.
        self._local_only = options.is_loopback and options.token is None
        self._hosts = LOOPBACK_NAMES | {options.host.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, started = time.perf_counter(), 0, False

        async def send_on(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, send_on)
        except Refusal as refusal:
            await answer(refusal, scope["path"])(scope, receive, send_on)
        except asyncio.CancelledError:
            # The time to finish after SIGTERM is over; without an answer here, uvicorn would send a 500.
            if started:
                raise
            unfinished = Stopping("The server has stopped before it could finish this request.")
            await answer(unfinished, scope["path"])(scope, receive, send_on)
        except Exception as error:
            logs.failure("request_failed", error)
            if started:
                raise
            await answer(Failed("The server failed."), scope["path"])(scope, receive, send_on)
        finally:
            self._record(scope, status, time.perf_counter() - began)

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if self._local_only:
            host = headers.get(b"host")
            # HTTP/1.0 needs no Host, and simple health checks send none; a browser always sends it.
            unnamed = host is None and scope["http_version"] == "1.0"
            if not unnamed and _host_name((host or b"").decode("latin-1")) not in self._hosts:
                raise Refusal("The Host header names another host. Set a token to use other names.", 421)
        path = scope["path"]
        is_page = scope["method"] in ("GET", "HEAD") and (path == "/" or path.startswith("/page/"))
        if self._token is None or path in OPEN or is_page:
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
            raise Unauthorized("Expected the header `Authorization: Bearer TOKEN` with the server's token.")

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        path = _route(scope)
        self._service.metrics.request(path, status, seconds)
        facts: dict[str, Any] = scope.get("state", {}).get("facts", {})
        logs.event(
            "request",
            method=scope["method"][:10],
            route=path,
            status=status,
            seconds=round(seconds, 4),
            **facts,
        )


def _route(scope: Scope) -> str:
    """Return the path of the route that a request has taken, without the names in it that a client chose."""
    if (endpoint := scope.get("endpoint")) is None:
        return "none"
    # Several routes may have one endpoint, so the endpoint alone does not tell.
    own = [route for route in scope["app"].routes if route.endpoint is endpoint]
    return next((str(route.path) for route in own if route.matches(scope)[0] is not Match.NONE), "none")


def answer(refusal: Refusal, path: str, further: Mapping[str, str] | None = None) -> Response:
    """Return the response for a refusal, in the shape of the protocol that the path belongs to.

    Args:
        refusal: what is refused.
        path: of the request.
        further: headers beside those that every refusal of its kind has.
    """
    body: dict[str, Any] = {"error": refusal.message}
    if not path.startswith("/v2"):
        body["error_type"] = refusal.kind
    headers = dict(further or {})
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.close:
        headers["Connection"] = "close"
    return json_response(body, refusal.status, headers)


def _host_name(header: str) -> str:
    """Return the name in a Host header, without the port and the brackets of an IPv6 address."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
