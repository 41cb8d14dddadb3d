"""The load report of the server: it says which run on which encoder was measured, on texts of which length."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import serving
from submillion.rundir import RunDir
from support.trained import trained_in, two_classes


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = trained_in(tmp_path_factory.mktemp("loaded"))
    return serving.subject(RunDir.open(run.path), [*two_classes(8)[0], "word " * 500])


def test_the_subject_is_named_without_a_path(subject: dict[str, Any]) -> None:
    assert subject["run"] == "run"
    assert subject["encoder"] == Path(subject["encoder"]).name
    assert 2 < subject["tokens_per_text"] <= 24  # of the run's max_length


def test_the_report_begins_with_the_subject(subject: dict[str, Any]) -> None:
    arguments = Namespace(clients=64, texts_per_request=1, workers=1)
    load = serving.Load(texts=200, seconds=[0.1] * 200, memory_mb=[600.0] * 10)
    report = subject | serving.summary(load, 10.0, (20.0, 20.0), arguments)
    first = serving.markdown(report).splitlines()[0]
    tokens = np.round(subject["tokens_per_text"])
    assert first.startswith(
        f"Run `run` on {subject['encoder']}, {tokens:.0f} tokens per text; 64 clients for 10 seconds"
    )
