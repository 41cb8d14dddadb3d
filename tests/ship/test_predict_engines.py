"""The engine of this process: equal texts are classified once, and all rows get their own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from submillion.data.token_report import unknown_tokens
from submillion.data.tokens import encode
from submillion.model.infer import predict_logits
from submillion.model.trained import OpenedRun, open_run_classifier
from submillion.ship.predict_engines import Distinct, LocalEngine
from submillion.ship.predict_rows import Chunk
from support.tiny_run import tiny_run

TEXTS = ["word1 goal", "☃ word2", "word1 goal", "word3 " * 30, "word3 " * 30, "", "word1 goal"]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    return open_run_classifier(tiny_run(tmp_path_factory.mktemp("home"))[0])


def test_equal_texts_are_classified_once_and_counted_each_time(opened: OpenedRun) -> None:
    distinct = Distinct.of(opened, TEXTS)
    assert len(distinct.tokens) == 4
    done: list[int] = []
    scored = distinct.scored(opened, 64, done.append)
    every = encode(opened.tokenizer, TEXTS, opened.truncation)
    np.testing.assert_allclose(scored.logits, predict_logits(opened.execution, every, 64), atol=1e-6)
    assert (scored.truncated, sum(done)) == (2, len(TEXTS))
    assert scored.unknown == unknown_tokens(opened.tokenizer, every)


def test_chunks_come_back_in_order(opened: OpenedRun) -> None:
    chunks: list[Chunk] = [([str(number)], [f"word{number}"], [[]]) for number in range(5)]
    done: list[int] = []
    scored = list(LocalEngine(opened, 64, done.append).scored(iter(chunks)))
    assert [chunk for chunk, _ in scored] == chunks
    assert sum(done) == 5
