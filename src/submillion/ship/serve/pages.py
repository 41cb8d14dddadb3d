"""The page at `/`, its files, and the report and card of each run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request, Response

from submillion.ship.serve.guard import PAGE_POLICY
from submillion.ship.serve.refusals import Refusal
from submillion.ship.serve.service import Service

if TYPE_CHECKING:
    from fastapi import FastAPI

FOLDER = Path(__file__).parent / "page"
# Python's own table comes from the system, where `.js` may be something else.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
HEADERS = {"Cache-Control": "no-cache", "Content-Security-Policy": PAGE_POLICY}


def add_to(app: FastAPI, service: Service) -> None:
    """Add the endpoints; the files of the page are read once."""
    files = {
        file.name: (file.read_bytes(), TYPES[file.suffix])
        for file in sorted(FOLDER.iterdir())
        if file.suffix in TYPES
    }

    def page_file(name: str) -> Response:
        if name not in files:
            raise Refusal("There is no such file.", 404)
        content, kind = files[name]
        return Response(content, headers=HEADERS, media_type=kind)

    async def index(_: Request) -> Response:
        return page_file("index.html")

    async def asset(request: Request) -> Response:
        return page_file(request.path_params["name"])

    async def report(request: Request) -> Response:
        run = service.run(request.query_params.get("model"))
        # The report's own policy is in its file.
        return _document(run.run.report, "text/html; charset=utf-8", "report")

    async def card(request: Request) -> Response:
        run = service.run(request.query_params.get("model"))
        return _document(run.run.card, "text/markdown; charset=utf-8", "card")

    app.add_route("/", index, ["GET"])
    app.add_route("/page/{name}", asset, ["GET"])
    app.add_route("/report", report, ["GET"])
    app.add_route("/card", card, ["GET"])


def _document(file: Path, kind: str, name: str) -> Response:
    if not file.is_file():
        raise Refusal(f"This run has no {name}; `report` writes it.", 404)
    return Response(file.read_bytes(), headers={"Cache-Control": "no-cache"}, media_type=kind)
