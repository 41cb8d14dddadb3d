"""Several threads may use one classifier or run, and calls leave the caller's process unchanged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion import native
from submillion.data.tokens import encode
from submillion.model import eva, trained
from submillion.model.build import build, open_adapter
from submillion.model.execution.reference import Reference
from submillion.model.infer import predict_logits
from submillion.model.precision import Precision, choose_precision
from submillion.model.prefix import PrefixCache
from submillion.model.process_state import denormals_are_flushed
from submillion.model.protocol import Execution
from submillion.model.trained import open_run_classifier
from support.packed import made, opened, texts_of
from support.tiny import LABELS, shared_encoder, tiny_encoder, tiny_recipe, tiny_texts, tiny_tokens
from support.tiny_run import tiny_run

FLOAT32 = Precision("float32", False, "test")
THREADS = 2
CALLS = 12  # per thread


def in_threads(call: Callable[[int], Any]) -> list[list[Any]]:
    """Run `call` CALLS times in each of THREADS threads that start together; return their results by thread."""
    barrier = threading.Barrier(THREADS)

    def work(thread: int) -> list[Any]:
        barrier.wait()
        return [call(thread) for _ in range(CALLS)]

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(THREADS)))


def executions(tmp_path: Path) -> list[Execution]:
    """Return the reference execution of a classifier with dropout, and its packed one if the kernels run here."""
    folder = tiny_encoder(tmp_path / "encoder", "roberta", hidden=64, heads=2, dropout=0.2)
    classifier = made(folder, {"layers": "top-1", "dropout": 0.2})
    library, _ = native.load_best_build("float32")
    packed = [] if library is None else [opened(classifier, library.build.name)]
    return [Reference(classifier, FLOAT32), *packed]


def test_two_threads_on_one_classifier_get_the_same_logits_as_one(tmp_path: Path) -> None:
    for execution in executions(tmp_path):
        tokens = [texts_of([3, 17, 9, 24, 5], execution.classifier, seed) for seed in range(THREADS)]
        cache = [PrefixCache.build(execution, own, 2) for own in tokens]
        expected = [predict_logits(execution, own, 2) for own in tokens]
        assert not np.array_equal(expected[0], expected[1])

        def call(
            thread: int, execution: Execution = execution, tokens: Any = tokens, cache: Any = cache
        ) -> Any:
            plain = predict_logits(execution, tokens[thread], 2)
            cached = predict_logits(execution, tokens[thread], 2, cache[thread])
            return plain, cached

        for thread, results in enumerate(in_threads(call)):
            for plain, cached in results:
                np.testing.assert_array_equal(plain, expected[thread], err_msg=execution.name)
                np.testing.assert_allclose(cached, expected[thread], atol=1e-5, err_msg=execution.name)
        assert execution.classifier.training  # as before


def test_two_threads_on_one_run_get_the_same_probabilities_as_one(tmp_path: Path) -> None:
    run, _ = tiny_run(tmp_path)
    ready = open_run_classifier(run)
    texts = [tiny_texts(20, seed=seed)[0] for seed in range(THREADS)]
    expected = [ready.probabilities(own, 4) for own in texts]
    for thread, results in enumerate(in_threads(lambda thread: ready.probabilities(texts[thread], 4))):
        for probabilities in results:
            np.testing.assert_array_equal(probabilities, expected[thread])


def test_two_threads_on_one_run_do_not_tokenize_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = tiny_run(tmp_path)
    ready = open_run_classifier(run)
    inside, overlaps = [0], []

    def watched(*arguments: Any) -> Any:
        inside[0] += 1
        overlaps.append(inside[0])
        time.sleep(0.005)  # longer than a switch of threads takes
        inside[0] -= 1
        return encode(*arguments)

    monkeypatch.setattr(trained, "encode", watched)
    in_threads(lambda _: ready.probabilities(["goal coach"], 1))
    assert overlaps == [1] * THREADS * CALLS


def process_state() -> tuple[bytes, int, bool]:
    """Return the state of the default generator, the number of threads and the denormal mode."""
    state = bytes(torch.default_generator.get_state().numpy())
    return state, torch.get_num_threads(), denormals_are_flushed()


@pytest.mark.parametrize("variant", ["lora", "pissa", "eva", "vera"])
def test_building_and_predicting_leave_the_process_unchanged(variant: str, tmp_path: Path) -> None:
    folder = shared_encoder("roberta")
    tokens = tiny_tokens(folder, tiny_texts(30, seed=1)[0])
    before = process_state()
    choose_precision("float32")
    classifier = build(folder, LABELS, tiny_recipe(folder, lora={"variant": variant, "r": 2}))
    assert process_state() == before
    if variant == "eva":
        eva.start(classifier, tokens, seed=3)
    predict_logits(Reference(classifier, FLOAT32), tokens, 8)
    classifier.save_adapter(tmp_path)
    predict_logits(Reference(open_adapter(folder, tmp_path, LABELS), FLOAT32), tokens, 8)
    assert process_state() == before


def test_opening_a_run_and_predicting_leave_the_process_unchanged(tmp_path: Path) -> None:
    run, _ = tiny_run(tmp_path)
    before = process_state()
    open_run_classifier(run).probabilities(["goal coach", "orbit"], 2)
    assert process_state() == before
