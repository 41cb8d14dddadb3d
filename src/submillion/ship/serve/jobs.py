"""The texts of one request on their way through the batches, and the answer that its event loop gets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from submillion.data.tokens import Tokens, Windows, from_rows
from submillion.ship.serve.refusals import Refusal


@dataclass(frozen=True)
class Scored:
    """The classifier's output for the N texts of one request."""

    logits: np.ndarray
    """float32 [N, C]."""
    truncated: np.ndarray
    """Which texts were too long, bool [N]."""


@dataclass(eq=False)
class Job:
    """The texts of one request."""

    run: int
    texts: Sequence[str]
    truncate: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Scored]
    estimates: Sequence[int]
    """Estimated tokens of each text; see `pace`."""
    logits: list[np.ndarray | None] = field(default_factory=list)
    truncated: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    missing: int = 0
    failed: bool = False

    @property
    def work(self) -> int:
        """Estimated tokens of all its texts."""
        return sum(self.estimates)


@dataclass(frozen=True)
class Piece:
    """One text of a job, tokenized."""

    job: Job
    place: int
    tokens: Tokens
    row: int

    @property
    def size(self) -> int:
        """Its tokens."""
        return int(self.tokens.offsets[self.row + 1] - self.tokens.offsets[self.row])

    @property
    def estimate(self) -> int:
        """The tokens that were estimated for it when it was accepted."""
        return self.job.estimates[self.place]


def deliver(jobs: Sequence[tuple[Job, Refusal | None]]) -> None:
    """Answer requests, in the event loop that they wait in; None is success."""
    for job, refusal in jobs:
        if job.future.done():
            continue
        if refusal is not None:
            job.future.set_exception(refusal)
        else:
            job.future.set_result(
                Scored(np.stack([row for row in job.logits if row is not None]), job.truncated)
            )


def joined(batch: Sequence[Piece]) -> Tokens:
    """Return the tokens of a batch's texts, in its order."""
    rows = [piece.tokens[piece.row] for piece in batch]
    full = [piece.tokens.full_lengths[piece.row] for piece in batch]
    tokens = from_rows(rows, full)
    windows = [piece.tokens.windows.take(np.array([piece.row])) for piece in batch if piece.tokens.windows]
    if not windows:
        return tokens
    lengths = np.concatenate([one.lengths for one in windows])
    counts = np.concatenate([one.counts for one in windows])
    return Tokens(tokens.ids, tokens.offsets, tokens.full_lengths, Windows(lengths, counts))
