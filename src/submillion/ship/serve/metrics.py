"""The counters of a server, in the format of Prometheus."""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus_client knows that several processes count together."""

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def forget_waiting(process: int) -> None:
    """Take the waiting texts of a process that has died out of the sum; what it has answered stays counted."""
    if folder := os.environ.get(SHARED_DIRECTORY):
        mark_process_dead(process, folder)  # type: ignore[no-untyped-call]


class Metrics:
    """The counters, in a registry of their own."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """Create the counters.

        Args:
            waiting: returns the texts that are accepted and not yet answered.
        """
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "submillion_requests", "Requests by route and status.", ("route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "submillion_request_seconds",
            "Time from a request's headers to its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self._texts = Counter("submillion_texts", "Classified texts by model.", ("model",), registry=registry)
        self._batch_texts = Histogram(
            "submillion_batch_texts", "Texts of a batch.", buckets=SIZES, registry=registry
        )
        self._tokens = Counter("submillion_tokens", "Classified tokens.", registry=registry)
        self._busy = Counter("submillion_classifier_seconds", "Time in the classifiers.", registry=registry)
        # Of several processes, the sum; a process that has ended counts no more.
        self._queue = Gauge(
            "submillion_waiting_texts",
            "Texts that are accepted and not yet answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waiting = waiting

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def texts(self, model: str, count: int) -> None:
        """Count classified texts."""
        self._texts.labels(model).inc(count)

    def batch(self, texts: int, tokens: int, seconds: float) -> None:
        """Count a batch."""
        self._batch_texts.observe(texts)
        self._tokens.inc(tokens)
        self._busy.inc(seconds)
        self._queue.set(self._waiting())

    def text(self) -> bytes:
        """Return the present values, of all processes of the server."""
        self._queue.set(self._waiting())
        if os.environ.get(SHARED_DIRECTORY):
            together = CollectorRegistry()
            MultiProcessCollector(together)  # type: ignore[no-untyped-call]
            return generate_latest(together)
        return generate_latest(self._registry)
