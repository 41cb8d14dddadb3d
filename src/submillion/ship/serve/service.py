"""The state of a server: its runs, the threads that own them, its limits and its counters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import Response

from submillion.ship.serve import logs
from submillion.ship.serve.batcher import Batcher
from submillion.ship.serve.jobs import Scored
from submillion.ship.serve.metrics import Metrics
from submillion.ship.serve.models import ServedRun
from submillion.ship.serve.options import ServeOptions
from submillion.ship.serve.refusals import Refusal

if TYPE_CHECKING:
    from submillion.ship.serve.limits import Bodies

DRAIN_SECONDS = 10
"""Seconds after SIGTERM that accepted requests have to finish."""


class Service:
    """What every endpoint needs."""

    def __init__(self, runs: Sequence[ServedRun], options: ServeOptions, bodies: Bodies) -> None:
        """Prepare, and measure how fast the classifiers are; `start` starts the threads.

        Args:
            runs: at least one; the first is the default.
            options: the limits.
            bodies: reads the bodies of requests.
        """
        self.runs = {run.name: run for run in runs}
        self.default = runs[0]
        self.options, self.bodies = options, bodies
        self.metrics = Metrics(self._waiting)
        groups: dict[int, list[ServedRun]] = {}
        for run in runs:
            groups.setdefault(run.group, []).append(run)
        self._batchers = {
            number: Batcher(
                [run.opened for run in sorted(group, key=lambda run: run.place)],
                options.max_queue,
                self.metrics.batch,
                partial(logs.failure, "classifier_failed"),
                len(groups),
            )
            for number, group in groups.items()
        }

    @property
    def ready(self) -> bool:
        """Whether every classifier's thread runs."""
        return all(batcher.alive for batcher in self._batchers.values())

    def start(self) -> None:
        """Start the classifiers' threads."""
        for batcher in self._batchers.values():
            batcher.start()

    async def stop(self) -> None:
        """Finish what is accepted, and end the threads."""
        for batcher in self._batchers.values():
            if not await asyncio.to_thread(batcher.close, DRAIN_SECONDS):
                logs.event("not_finished", texts=batcher.waiting)

    def run(self, name: str | None) -> ServedRun:
        """Return a run by name; None is the default.

        Raises:
            Refusal: there is no such run (404).
        """
        if name is None:
            return self.default
        if name not in self.runs:
            raise Refusal(f"There is no such model. This server has {', '.join(self.runs)}.", 404)
        return self.runs[name]

    async def scores(self, run: ServedRun, texts: Sequence[str], truncate: bool = True) -> Scored:
        """Classify texts; see `Batcher.scores`."""
        scored = await self._batchers[run.group].scores(run.place, texts, truncate)
        self.metrics.texts(run.name, len(texts))
        return scored

    def _waiting(self) -> int:
        return sum(batcher.waiting for batcher in self._batchers.values())


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return JSON; a number that is not finite raises, since JSON has none."""
    content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(content, status, headers, media_type="application/json")
