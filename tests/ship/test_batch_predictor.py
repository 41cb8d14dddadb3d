"""`BatchPredictor`: arrays in and out, pickled, opened once in a process."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from submillion import BatchPredictor, Run
from submillion.errors import BadInput
from submillion.rundir import RunDir
from submillion.ship import opened_runs
from support.tiny import tiny_texts
from support.tiny_run import NAMES, tiny_run

TEXTS = tiny_texts(12, seed=8)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return tiny_run(tmp_path_factory.mktemp("home"))[0]


def test_a_batch_gets_the_answers_of_the_run(run: RunDir) -> None:
    batch = {"id": np.arange(12), "words": np.array(TEXTS)}
    out = BatchPredictor(run.path, text="words", probabilities=True)(batch)
    expected = Run(run.path).predict_proba(TEXTS)
    assert list(out) == ["id", "words", "predicted_label", "confidence", *(f"p_{name}" for name in NAMES)]
    assert (out["id"] == batch["id"]).all()
    assert out["predicted_label"].tolist() == [NAMES[best] for best in expected.argmax(axis=1)]
    assert (out["confidence"] == expected.max(axis=1)).all()
    assert (np.stack([out[f"p_{name}"] for name in NAMES], axis=1) == expected).all()
    assert list(batch) == ["id", "words"]


def test_a_pickled_predictor_is_small_and_works_from_any_folder(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.path.parent)
    predictor = BatchPredictor(run.path.name)
    predictor({"text": np.array(TEXTS[:1])})
    pickled = pickle.dumps(predictor)
    assert len(pickled) < 2000
    monkeypatch.chdir(tmp_path)
    (label,) = pickle.loads(pickled)({"text": np.array(TEXTS[:1])})["predicted_label"]
    assert label in NAMES


def test_an_opened_run_is_taken_by_its_path(run: RunDir) -> None:
    predictor = BatchPredictor(Run(run.path))
    assert pickle.dumps(predictor) == pickle.dumps(BatchPredictor(run.path))
    assert predictor({"text": TEXTS})["predicted_label"].tolist() == Run(run.path).predict(TEXTS)


def test_a_process_opens_a_run_once_and_again_after_it_has_changed(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    opener = opened_runs.open_for_answers
    monkeypatch.setattr(opened_runs, "_opened", {})
    monkeypatch.setattr(
        opened_runs, "open_for_answers", lambda *given: opened.append(given[0]) or opener(*given)
    )
    for _ in range(3):
        BatchPredictor(run.path)({"text": TEXTS})
    assert len(opened) == 1
    run.write_json(run.manifest, run.read_manifest())
    BatchPredictor(run.path)({"text": TEXTS})
    assert len(opened) == 2


def test_an_empty_batch_has_the_columns_and_types_of_any(run: RunDir) -> None:
    out = BatchPredictor(run.path)({"text": np.array([], dtype=object)})
    assert (len(out["predicted_label"]), len(out["confidence"])) == (0, 0)
    assert out["confidence"].dtype == np.float32


def test_columns_of_pandas_are_taken(run: RunDir) -> None:
    part = pd.DataFrame({"text": TEXTS}, index=range(5, 17))
    out = BatchPredictor(run.path)(dict(part.items()))
    assert pd.DataFrame(out)["predicted_label"].isin(NAMES).all()


def test_wrong_batches_are_refused_by_name(run: RunDir, tmp_path: Path) -> None:
    predictor = BatchPredictor(run.path)
    with pytest.raises(BadInput, match="a batch with the column 'text', found the columns 'body'"):
        predictor({"body": np.array(TEXTS)})
    with pytest.raises(BadInput, match="no column 'confidence', which is added"):
        predictor({"text": np.array(TEXTS), "confidence": np.zeros(12)})
    with pytest.raises(BadInput, match="position 1"):
        predictor({"text": np.array(["word1", None], dtype=object)})
    with pytest.raises(BadInput, match="expected a run directory"):
        BatchPredictor(tmp_path)
    for size in (-3, 0, 2.5, True):
        with pytest.raises(BadInput, match=f"`batch_size`: expected a whole number from 1 on, found {size}"):
            BatchPredictor(run.path, batch_size=size)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"`text`: expected the name of one column, found \['text', 'b'\]"):
        BatchPredictor(run.path, text=["text", "b"])  # type: ignore[arg-type]
