"""A run with a random adapter on tiny texts, the subject of the tests of the baselines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from submillion.assess.run_context import RunContext
from submillion.data.corpus import Corpus
from submillion.rundir import RunDir
from support.examined import again, examined, split_of, spread
from support.tiny import tiny_texts
from support.tiny_run import NAMES

ROWS = 60
Rows = tuple[list[str], list[int]]


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return examined(tmp_path_factory.mktemp("run"), (["goal"], [0]), spread([0], [0.9])).run


@pytest.fixture
def a_context(run: RunDir) -> Callable[..., RunContext]:
    """Return a function that scores the run on 60 test rows, without earlier baselines."""

    def make(wrong: int = 12, train: Rows | None = None, held_out: Rows | None = None) -> RunContext:
        for file in run.analysis.glob("baselines/*/*.parquet"):
            file.unlink()
        test = tiny_texts(ROWS, seed=2)
        predicted = [(label + (row < wrong)) % 4 for row, label in enumerate(test[1])]
        context = again(run, test, spread(predicted, np.full(ROWS, 0.8)))
        corpus = Corpus(
            split_of("train", *(train or tiny_texts(200, seed=0))),
            split_of("validation", *(held_out or tiny_texts(80, seed=1))),
            context.corpus.test,
            NAMES,
            {},
        )
        return RunContext(run, corpus=corpus)

    return make
