"""The engines of a prediction: logits of chunks of texts, in order, from this process or from a Ray cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from submillion import notices
from submillion.data.token_report import Unknown, unknown_tokens
from submillion.data.tokens import Tokens, encode
from submillion.errors import SubmillionError
from submillion.model.infer import predict_logits
from submillion.model.precisions import AUTO
from submillion.model.trained import OpenedRun
from submillion.ray_cluster import THREADS, connected, cores_of_largest_node
from submillion.rundir import RunDir
from submillion.ship.opened_runs import opened_once
from submillion.ship.overlap import ahead
from submillion.ship.predict_rows import Chunk

WAITING = 2  # chunks per task of the cluster that are submitted, so that no worker waits for the driver


class Scored(NamedTuple):
    """What a classifier makes of N texts."""

    logits: np.ndarray
    """float32 [N, C], rows in input order."""
    truncated: int
    """Texts longer than the limit."""
    unknown: Unknown


@dataclass(frozen=True)
class Distinct:
    """The tokens of the different texts of a chunk."""

    tokens: Tokens
    """Of M texts."""
    places: np.ndarray
    """int64 [N]: which of them each of the N rows has."""
    unknown: Unknown
    """Of all N rows."""

    @classmethod
    def of(cls, opened: OpenedRun, texts: Sequence[str]) -> Distinct:
        """Tokenize texts, equal ones once."""
        numbers: dict[str, int] = {}
        places = np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)
        tokens = encode(opened.tokenizer, list(numbers), opened.truncation)
        all_rows = tokens if len(tokens) == len(places) else tokens.take(places)
        return cls(tokens, places, unknown_tokens(opened.tokenizer, all_rows))

    def scored(self, opened: OpenedRun, batch_size: int, advance: Callable[[int], Any]) -> Scored:
        """Classify each different text once."""
        logits = predict_logits(opened.execution, self.tokens, batch_size, progress=advance)
        advance(len(self.places) - len(self.tokens))
        truncated = self.tokens.full_lengths > self.tokens.lengths
        return Scored(logits[self.places], int(truncated[self.places].sum()), self.unknown)


class LocalEngine:
    """Classifies in this process: a thread reads and tokenizes the next chunk while the kernels run."""

    def __init__(self, opened: OpenedRun, batch_size: int, advance: Callable[[int], Any]) -> None:
        """Prepare.

        Args:
            opened: the classifier.
            batch_size: texts per forward pass.
            advance: receives the number of rows done since its last call.
        """
        self._opened, self._batch_size, self._advance = opened, batch_size, advance

    def scored(self, chunks: Iterator[Chunk]) -> Generator[tuple[Chunk, Scored], None, None]:
        """Yield each chunk with its logits, in order."""
        tokenized = ((chunk, Distinct.of(self._opened, chunk[1])) for chunk in chunks)
        for chunk, distinct in ahead(tokenized):
            yield chunk, distinct.scored(self._opened, self._batch_size, self._advance)


class RayEngine:
    """Classifies in tasks of a Ray cluster, each chunk in one; if its node dies, another node repeats it.

    The driver reads and writes. All nodes must see this package, the run and its encoder under the same paths.
    """

    def __init__(
        self, run: RunDir, batch_size: int, advance: Callable[[int], Any], precision: str = AUTO
    ) -> None:
        """Connect to the cluster of RAY_ADDRESS or one on this machine; start one if there is none.

        Args:
            run: a finished run.
            batch_size: texts per forward pass.
            advance: receives the number of rows done since its last call.
            precision: as in `open_for_answers`; each process of the cluster decides for itself.

        Raises:
            BadInput: ray is not installed, or no cluster answers at RAY_ADDRESS.
            SubmillionError: the cluster has no processor.
        """
        self._ray = connected()
        cores = cores_of_largest_node(self._ray)
        if not cores:
            raise SubmillionError("the Ray cluster has no node with a processor")
        self._threads = min(THREADS, cores)
        self._run, self._batch_size, self._advance = run, batch_size, advance
        self._precision = precision
        self._said: list[dict[str, Any]] = []

    def scored(self, chunks: Iterator[Chunk]) -> Generator[tuple[Chunk, Scored], None, None]:
        """Yield each chunk with its logits, in order; closing the iterator cancels what is submitted."""
        ray = self._ray
        options: dict[str, Any] = {
            "num_cpus": self._threads,
            "max_retries": -1,  # of a task whose worker or node died; an error of the task itself is raised
        }
        remote: Any = ray.remote(**options)(_scored)
        running: deque[tuple[Chunk, Any]] = deque()
        try:
            for chunk in ahead(chunks):
                place = str(self._run.path.resolve())
                submitted = remote.remote(place, chunk[1], self._batch_size, self._precision)
                running.append((chunk, submitted))
                if len(running) >= WAITING * max(
                    1, int(ray.cluster_resources().get("CPU", 0)) // self._threads
                ):
                    yield self._first(running)
            while running:
                yield self._first(running)
        finally:
            for _, reference in running:
                ray.cancel(reference, force=True)

    def _first(self, running: deque[tuple[Chunk, Any]]) -> tuple[Chunk, Scored]:
        chunk, reference = running.popleft()
        try:
            scored, said = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, SubmillionError):
                raise error.cause from error
            raise
        # Those of the opening, such as the number format: each once, where processes say the same.
        new = [notice for notice in said if notice not in self._said]
        self._said += new
        notices.repeat(new)
        self._advance(len(chunk[1]))
        return chunk, Scored(*scored)


def _scored(
    run: str, texts: list[str], batch_size: int, precision: str
) -> tuple[Scored, list[dict[str, Any]]]:
    """Classify texts in a process of the cluster, which opens the run with its first chunk; return its notices too."""
    with notices.collecting(quiet=True):
        opened = opened_once(run, precision)
        scored = Distinct.of(opened, texts).scored(opened, batch_size, lambda _: None)
        return scored, notices.collected()
