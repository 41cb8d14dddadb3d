"""Batches of many requests: equal answers, one encoder, bounded queues, failures that stay with their request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from submillion import Run
from submillion.ship.serve import batcher as batcher_module
from submillion.ship.serve.batcher import Batcher
from submillion.ship.serve.models import ServedRun
from submillion.ship.serve.refusals import Failed, Overloaded, Stopping, TooLarge
from support.trained import two_classes


@contextmanager
def started(served: list[ServedRun], max_queue: int = 400) -> Iterator[SimpleNamespace]:
    sizes: list[int] = []
    errors: list[BaseException] = []
    batcher = Batcher(
        [run.opened for run in served],
        max_queue,
        lambda texts, tokens, seconds: sizes.append(texts),
        errors.append,
    )
    batcher.start()
    try:
        yield SimpleNamespace(batcher=batcher, sizes=sizes, errors=errors)
    finally:
        assert batcher.close(5)


def test_runs_on_one_encoder_hold_it_once(served: list[ServedRun]) -> None:
    first, second = (run.opened for run in served)
    assert served[0].group == served[1].group
    words = [one.classifier.module.get_base_model().get_input_embeddings().weight for one in (first, second)]
    assert words[0].data_ptr() == words[1].data_ptr()
    adapters = [
        next(value for name, value in one.classifier.module.named_parameters() if "lora_B" in name)
        for one in (first, second)
    ]
    assert adapters[0].data_ptr() != adapters[1].data_ptr()


def test_batches_of_many_requests_give_the_answers_of_single_texts(
    served: list[ServedRun], runs: tuple[Run, Run]
) -> None:
    """Equal within 1e-5 in the logits: the order of float32 sums depends on the batch."""
    texts = two_classes(64, seed=9)[0]

    async def ask(batcher: Batcher) -> list[tuple[int, np.ndarray]]:
        async def one(place: int, text: str) -> tuple[int, np.ndarray]:
            return place % 2, (await batcher.scores(place % 2, [text])).logits[0]

        return await asyncio.gather(*(one(place, text) for place, text in enumerate(texts)))

    async def alone(batcher: Batcher) -> list[np.ndarray]:
        return [(await batcher.scores(place % 2, [text])).logits[0] for place, text in enumerate(texts)]

    with started(served) as state:
        together = asyncio.run(ask(state.batcher))
        assert max(state.sizes) > 8
        assert sum(state.sizes) == len(texts)
        single = asyncio.run(alone(state.batcher))
    for (_, logits), expected in zip(together, single, strict=True):
        assert logits == pytest.approx(expected, abs=1e-5)


def test_a_full_queue_is_refused_with_a_time_to_wait(served: list[ServedRun]) -> None:
    async def ask(batcher: Batcher) -> None:
        waiting = [asyncio.create_task(batcher.scores(0, ["a"] * 6)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await batcher.scores(0, ["a"] * 3)
        assert refused.value.retry_after is not None and refused.value.retry_after >= 1
        batcher.start()
        assert [len((await one).logits) for one in waiting] == [6, 6, 6]
        assert batcher.waiting == 0

    batcher = Batcher([served[0].opened], 20, lambda *_: None, lambda _: None)
    asyncio.run(ask(batcher))
    assert batcher.close(5)


def test_a_failing_text_fails_its_own_request_only(
    served: list[ServedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = batcher_module.predict_logits

    def failing(execution: Any, tokens: Any, *others: Any) -> np.ndarray:
        if (tokens.lengths > 10).any():
            raise RuntimeError("secret text")
        return predict(execution, tokens, *others)

    async def ask(batcher: Batcher) -> list[Any]:
        texts = [["a"], ["word " * 50], ["b"]]
        return await asyncio.gather(*(batcher.scores(0, one) for one in texts), return_exceptions=True)

    with started(served) as state:
        monkeypatch.setattr(batcher_module, "predict_logits", failing)
        first, second, third = asyncio.run(ask(state.batcher))
        assert state.batcher.waiting == 0
    assert isinstance(second, Failed) and "secret" not in second.message
    assert (len(first.logits), len(third.logits)) == (1, 1)
    assert [type(error) for error in state.errors] == [RuntimeError]


def test_what_is_accepted_is_finished_and_nothing_more_is_accepted(served: list[ServedRun]) -> None:
    async def ask(batcher: Batcher) -> None:
        accepted = asyncio.create_task(batcher.scores(0, ["a"] * 100))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(batcher.close, 5)
        with pytest.raises(Stopping):
            await batcher.scores(0, ["a"])
        assert len((await accepted).logits) == 100

    batcher = Batcher([served[0].opened], 400, lambda *_: None, lambda _: None)
    batcher.start()
    asyncio.run(ask(batcher))


def test_only_a_text_that_is_cut_off_is_too_long(served: list[ServedRun]) -> None:
    """With windows `all` a long text is read to its end."""
    long = "word " * 200
    opened = served[0].opened
    by_windows = replace(opened, truncation=replace(opened.truncation, windows="all"))
    run = replace(served[0], opened=by_windows.on(opened.execution))

    async def ask(batcher: Batcher, truncate: bool) -> list[bool]:
        return (await batcher.scores(0, ["short", long], truncate)).truncated.tolist()

    with started([run]) as server:
        assert asyncio.run(ask(server.batcher, True)) == [False, False]
        assert asyncio.run(ask(server.batcher, False)) == [False, False]
    with started([served[0]]) as server:
        assert asyncio.run(ask(server.batcher, True)) == [False, True]
        with pytest.raises(TooLarge, match="at most 24 tokens"):
            asyncio.run(ask(server.batcher, False))
