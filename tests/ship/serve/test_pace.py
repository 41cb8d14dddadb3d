"""How much may wait: what a classifier does in eight seconds by a clock of the tests, and always one request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from submillion.data.truncation import Truncation
from submillion.ship.serve import batcher as batcher_module
from submillion.ship.serve.batcher import BATCH_TEXTS, DRAIN, SAMPLE, Batcher
from submillion.ship.serve.jobs import Scored
from submillion.ship.serve.models import ServedRun
from submillion.ship.serve.pace import FULL_TOKENS, Pace, token_estimate
from submillion.ship.serve.refusals import Overloaded

MAX_QUEUE = 4096


class Classifier:
    """A classifier that takes no time but moves a clock: so many seconds for a pass, and for each text."""

    def __init__(self, a_text: float, a_pass: float = 0.0) -> None:
        self.a_text, self.a_pass, self.now = a_text, a_pass, 0.0
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, execution: Any, tokens: Any, *_: Any) -> np.ndarray:
        assert self.go_on.wait(20)
        self.now += self.a_pass + self.a_text * len(tokens)
        return np.zeros((len(tokens), 2), dtype=np.float32)


MakeBatcher = Callable[..., Batcher]


@pytest.fixture
def batcher_of(served: list[ServedRun], monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeBatcher]:
    made: list[Batcher] = []

    def make(classifier: Classifier, sharing: int = 1) -> Batcher:
        monkeypatch.setattr(batcher_module, "predict_logits", classifier)
        monkeypatch.setattr(batcher_module, "perf_counter", lambda: classifier.now)
        made.append(Batcher([served[0].opened], MAX_QUEUE, lambda *_: None, lambda _: None, sharing))
        made[-1].start()
        return made[-1]

    yield make
    assert all(batcher.close(5) for batcher in made)


def accepted(batcher: Batcher, classifier: Classifier, sizes: list[int]) -> list[bool]:
    """Return which requests of so many texts are accepted when all come at once."""

    async def ask() -> list[bool]:
        classifier.go_on.clear()
        requests = [asyncio.ensure_future(batcher.scores(0, [SAMPLE] * size)) for size in sizes]
        await asyncio.sleep(0)
        taken = [not request.done() for request in requests]
        classifier.go_on.set()
        for answer, waited in zip(
            await asyncio.gather(*requests, return_exceptions=True), taken, strict=True
        ):
            assert isinstance(answer, Scored if waited else Overloaded)
        return taken

    return asyncio.run(ask())


def classified(batcher: Batcher, sizes: list[int]) -> None:
    """Have requests of so many texts classified, one after the other."""

    async def ask() -> None:
        for size in sizes:
            await batcher.scores(0, [SAMPLE] * size)

    asyncio.run(ask())


@pytest.mark.parametrize("a_text", [0.05, 0.5, 2.0])
def test_a_slow_classifier_accepts_what_it_finishes_before_a_first_batch(
    batcher_of: MakeBatcher, a_text: float
) -> None:
    classifier = Classifier(a_text)
    batcher = batcher_of(classifier)
    assert classifier.now <= max(2.0, 2 * a_text)  # what the measurement costs at the start
    taken = accepted(batcher, classifier, [1] * 600)
    assert sum(taken) == pytest.approx(DRAIN / a_text, abs=1)
    assert taken == sorted(taken, reverse=True)


def test_a_fast_classifier_accepts_a_full_queue(batcher_of: MakeBatcher) -> None:
    classifier = Classifier(1e-4)
    assert sum(accepted(batcher_of(classifier), classifier, [64] * 70)) == MAX_QUEUE // 64


def test_an_idle_server_accepts_one_request_of_any_size(batcher_of: MakeBatcher) -> None:
    classifier = Classifier(0.05)
    assert accepted(batcher_of(classifier), classifier, [2000, 1, 2000]) == [True, False, False]


def test_threads_of_several_encoders_share_the_cores(batcher_of: MakeBatcher) -> None:
    classifier = Classifier(0.05)
    taken = accepted(batcher_of(classifier, sharing=2), classifier, [1] * 600)
    assert sum(taken) == pytest.approx(DRAIN / 0.1, abs=1)


def test_single_texts_do_not_shut_the_door_on_many_clients(batcher_of: MakeBatcher) -> None:
    """A pass costs 60 ms whatever is in it: 16 texts/s one by one, and about 200 in full batches."""
    classifier = Classifier(0.001, a_pass=0.06)
    batcher = batcher_of(classifier)
    classified(batcher, [1] * 200)
    assert all(accepted(batcher, classifier, [1] * BATCH_TEXTS))


def test_full_batches_that_are_slower_than_at_the_start_lower_the_limit(batcher_of: MakeBatcher) -> None:
    classifier = Classifier(0.001)
    batcher = batcher_of(classifier)
    classifier.a_text = 0.05
    classified(batcher, [128] * 6)
    assert sum(accepted(batcher, classifier, [1] * 600)) == pytest.approx(DRAIN / 0.05, rel=0.1)


def test_a_pause_of_the_machine_is_forgotten_even_if_only_single_texts_follow() -> None:
    """After a batch of a minute, a server that is asked for single texts alone learns that it is fast."""
    tokens, usual = 64, 0.01
    pace = Pace(16 * tokens, 16 * usual)
    pace.learn(2 * FULL_TOKENS, 60.0)
    assert pace.seconds(BATCH_TEXTS * tokens) > DRAIN
    passed = 0.0
    while pace.seconds(BATCH_TEXTS * tokens) > DRAIN:
        pace.learn(tokens, usual)
        passed += usual
    assert passed < 10


def test_tokens_are_estimated_as_a_run_reads_them() -> None:
    first, whole = Truncation(128), Truncation(128, "all")
    assert token_estimate("", first) == 2
    assert token_estimate("word" * 10, first) == 12
    assert token_estimate("字" * 12, first) == 11
    assert token_estimate("word" * 5000, first) == token_estimate("字" * 5000, first) == 128
    assert token_estimate("word" * 5000, whole) == 5002
