"""Collects the texts of many requests into batches for the one thread that owns a group of classifiers."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic, perf_counter

import numpy as np

from submillion.data.tokens import encode
from submillion.errors import SubmillionError
from submillion.model.infer import predict_logits
from submillion.model.trained import OpenedRun
from submillion.ship.serve.jobs import Job, Piece, Scored, deliver, joined
from submillion.ship.serve.pace import Pace, token_estimate
from submillion.ship.serve.refusals import Failed, Overloaded, Refusal, Stopping, TooLarge, Untokenizable

WAIT = 0.005
"""Seconds that a batch waits for more texts, at most."""
BATCH_TOKENS = 8192
"""Tokens of a batch; it has one text at least."""
BATCH_TEXTS = 256
PASS_TEXTS = 64  # texts per forward pass of an execution that pads; the kernels join passes
TOKENIZED = 512  # texts that are tokenized in one go: the first batch does not wait for a long queue's tokens
DRAIN = 8.0
"""Seconds of work that may wait: a server that stops has ten seconds to finish what it accepted."""
SAMPLE = "The parcel arrived two days late, the box was torn, and nobody answered my messages. " * 3
"""A text of usual length, from which the speed of a classifier is measured before the first request."""
SAMPLE_TEXTS = 16
SAMPLE_SECONDS = 0.5  # a batch of this time is slow because of its tokens, not because of the cost of a pass


class Batcher:
    """Runs the classifiers of one encoder in a thread of its own, batch after batch, oldest texts first."""

    def __init__(
        self,
        runs: Sequence[OpenedRun],
        max_queue: int,
        observe: Callable[[int, int, float], None],
        failed: Callable[[BaseException], None],
        sharing: int = 1,
    ) -> None:
        """Prepare, and measure how fast the classifier is; `start` starts the thread.

        Args:
            runs: the runs, which share an encoder or are one.
            max_queue: texts that may wait.
            observe: receives the texts, tokens and seconds of each batch, in the thread.
            failed: receives an error of the classifier, in the thread.
            sharing: threads of classifiers that share the cores, this one included.
        """
        self._runs, self._max_queue, self._observe, self._failed = runs, max_queue, observe, failed
        self._changed = threading.Condition()
        self._incoming: deque[Job] = deque()
        self._ready: deque[Piece] = deque()
        self._waiting = 0  # texts that are accepted and not yet answered
        self._queued = 0  # their estimated tokens
        self._arrived = 0  # of these, texts in `_incoming`
        self._enough = 1  # texts in `_incoming` for which the thread does not wait any longer
        self._idle = False
        self._closing = False
        self._pace = self._measured(sharing)
        self._thread = threading.Thread(target=self._work, name="submillion-classifier", daemon=True)

    @property
    def waiting(self) -> int:
        """Texts that are accepted and not yet answered."""
        return self._waiting

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive() and not self._closing

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, seconds: float) -> bool:
        """Finish what is accepted and end the thread; return whether it ended in time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    async def scores(self, run: int, texts: Sequence[str], truncate: bool = True) -> Scored:
        """Classify texts of one request.

        Args:
            run: index of the run.
            texts: N texts.
            truncate: False refuses texts that are longer than the run reads.

        Raises:
            Overloaded: too many texts wait.
            TooLarge: a text is too long and must not be truncated.
            Untokenizable: the tokenizer failed.
            Failed: the classifier failed.
            Stopping: the server is stopping.
        """
        loop = asyncio.get_running_loop()
        truncation = self._runs[run].truncation
        estimates = [token_estimate(text, truncation) for text in texts]
        job = Job(run, texts, truncate, loop, loop.create_future(), estimates)
        job.logits, job.missing = [None] * len(texts), len(texts)
        job.truncated = np.zeros(len(texts), dtype=bool)
        self._accept(job)
        return await job.future

    def _accept(self, job: Job) -> None:
        count, work = len(job.texts), job.work
        with self._changed:
            if self._closing:
                raise Stopping("The server is stopping.")
            seconds = self._pace.seconds(self._queued + work)
            # One request is accepted whenever nothing waits; otherwise a large one would never be.
            if self._waiting and (self._waiting + count > self._max_queue or seconds > DRAIN):
                half = self._pace.seconds(self._queued) / 2
                raise Overloaded("Too many texts are waiting. Try again later.", max(1, round(half)))
            self._queued += work
            self._waiting += count
            self._arrived += count
            self._incoming.append(job)
            if self._idle or self._arrived >= self._enough:
                self._changed.notify()

    def _measured(self, sharing: int) -> Pace:
        """Classify more and more copies of a text until a batch shows the speed of full ones; return that speed."""
        opened = self._runs[0]
        count = 1
        self._seconds_of(count)  # the first pass also allocates
        while (seconds := self._seconds_of(count)) < SAMPLE_SECONDS and count < SAMPLE_TEXTS:
            count *= 2
        return Pace(count * token_estimate(SAMPLE, opened.truncation), sharing * seconds)

    def _seconds_of(self, count: int) -> float:
        """Return the seconds in which the first run classifies copies of the sample."""
        opened = self._runs[0]
        tokens = encode(opened.tokenizer, [SAMPLE] * count, opened.truncation)
        began = perf_counter()
        predict_logits(opened.execution, tokens, PASS_TEXTS)
        return perf_counter() - began

    # -- the thread ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle = True
                while not (self._incoming or self._ready or self._closing):
                    self._changed.wait()
                self._idle = False
                if not (self._incoming or self._ready):
                    return
                self._linger()
                jobs = self._taken()
            self._tokenize(jobs)
            if batch := self._chosen():
                self._classify(batch)

    def _linger(self) -> None:
        """Wait for more texts, if the last batch had those of several requests and no batch is ready."""
        end = monotonic() + WAIT
        while not self._ready and self._arrived < self._enough and not self._closing:
            left = end - monotonic()
            if left <= 0 or not self._changed.wait(left):
                return

    def _taken(self) -> list[Job]:
        jobs: list[Job] = []
        count = 0
        while self._incoming and count < TOKENIZED and len(self._ready) < TOKENIZED:
            job = self._incoming.popleft()
            count += len(job.texts)
            jobs.append(job)
        self._arrived -= count
        return jobs

    def _tokenize(self, jobs: list[Job]) -> None:
        for number in sorted({job.run for job in jobs}):
            self._tokenize_together([job for job in jobs if job.run == number])

    def _tokenize_together(self, jobs: list[Job]) -> None:
        opened = self._runs[jobs[0].run]
        try:
            tokens = encode(opened.tokenizer, [text for job in jobs for text in job.texts], opened.truncation)
        except Exception as error:  # noqa: BLE001  # the thread outlives every error; the request gets it
            if len(jobs) > 1:  # one text must not fail those of others
                for job in jobs:
                    self._tokenize_together([job])
                return
            self._failed(error)
            self._finish([(jobs[0], Untokenizable("The tokenizer cannot tokenize a text."))])
            return
        too_long = tokens.full_lengths > tokens.lengths  # with windows `all`, nothing is cut off
        row = 0
        for job in jobs:
            job.truncated = too_long[row : row + len(job.texts)]
            if job.truncated.any() and not job.truncate:
                longest = int(tokens.full_lengths[row : row + len(job.texts)].max())
                limit = opened.truncation.max_length
                message = f"`inputs` must have at most {limit} tokens, and one has {longest}."
                self._finish([(job, TooLarge(message))])
            else:
                self._ready += [Piece(job, at, tokens, row + at) for at in range(len(job.texts))]
            row += len(job.texts)

    def _chosen(self) -> list[Piece]:
        """Take the oldest texts of the oldest text's run, up to the tokens of a batch."""
        batch: list[Piece] = []
        left: deque[Piece] = deque()
        total = 0
        while self._ready:
            piece = self._ready.popleft()
            if piece.job.failed:
                continue
            if piece.job.future.cancelled():
                piece.job.failed = True
                self._finish([(piece.job, None)])
                continue
            if batch and piece.job.run != batch[0].job.run:
                left.append(piece)
                continue
            if batch and (total + piece.size > BATCH_TOKENS or len(batch) == BATCH_TEXTS):
                self._ready.appendleft(piece)
                break
            batch.append(piece)
            total += piece.size
        self._ready.extendleft(reversed(left))
        return batch

    def _classify(self, batch: list[Piece]) -> None:
        opened = self._runs[batch[0].job.run]
        tokens = joined(batch)
        began = perf_counter()
        try:
            logits = predict_logits(opened.execution, tokens, PASS_TEXTS)
        except Exception as error:  # noqa: BLE001  # as in `_tokenize_together`
            jobs = list(dict.fromkeys(piece.job for piece in batch))
            if len(jobs) > 1:
                for job in jobs:
                    self._classify([piece for piece in batch if piece.job is job])
                return
            self._failed(error)
            finite = isinstance(error, SubmillionError)
            message = (
                "The classifier gave numbers that are not finite." if finite else "The classifier failed."
            )
            jobs[0].failed = True
            self._finish([(jobs[0], Failed(message))])
            return
        seconds = perf_counter() - began
        self._observe(len(batch), int(tokens.offsets[-1]), seconds)
        self._pace.learn(sum(piece.estimate for piece in batch), seconds)
        finished: list[tuple[Job, Refusal | None]] = []
        for piece, row in zip(batch, logits, strict=True):
            job = piece.job
            job.logits[piece.place] = row
            job.missing -= 1
            if not job.missing:
                finished.append((job, None))
        requests = len({id(piece.job) for piece in batch})
        self._enough = min(len(batch), BATCH_TEXTS) if requests > 1 else 1
        self._finish(finished)

    def _finish(self, jobs: list[tuple[Job, Refusal | None]]) -> None:
        """Answer requests; each event loop is woken once."""
        with self._changed:
            self._waiting -= sum(len(job.texts) for job, _ in jobs)
            self._queued -= sum(job.work for job, _ in jobs)
        for loop in dict.fromkeys(job.loop for job, _ in jobs):
            loop.call_soon_threadsafe(deliver, [item for item in jobs if item[0].loop is loop])
