"""The app: every endpoint on one service, with one guard in front."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from submillion.ship.serve import classify, hub_client, inference_protocol, pages, tei
from submillion.ship.serve.guard import Guard, answer
from submillion.ship.serve.limits import Bodies
from submillion.ship.serve.models import ServedRun
from submillion.ship.serve.options import ServeOptions
from submillion.ship.serve.refusals import Refusal
from submillion.ship.serve.service import Service

_MESSAGES = {404: "There is no such path.", 405: "This path has no such method."}


def create_app(classifiers: Sequence[ServedRun], options: ServeOptions | None = None) -> FastAPI:
    """Return an ASGI app that serves runs; `app.state.service` holds its state.

    Args:
        classifiers: at least one opened run; the first answers requests that name none.
        options: None takes the defaults.

    Raises:
        BadInput: an option is out of range.
    """
    options = options or ServeOptions()
    options.check()
    service = Service(classifiers, options, Bodies(options.max_body_bytes))

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = FastAPI(lifespan=running, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.service = service
    app.router.redirect_slashes = False
    for protocol in (hub_client, tei, inference_protocol, classify, pages):
        protocol.add_to(app, service)
    app.add_middleware(Guard, service=service, options=options)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _not_routed)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return answer(error, request.url.path)


async def _not_routed(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    message = _MESSAGES.get(error.status_code, "The request cannot be served.")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return answer(Refusal(message, error.status_code), request.url.path, headers)


def _methods(request: Request) -> list[str]:
    """Return the methods of a path, of all its routes: starlette's own header names those of the first one."""
    matching = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in matching for method in route.methods})
