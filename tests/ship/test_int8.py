"""Every way to ask a run for answers takes int8 where the run has proven it, and float where it is asked for."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from submillion import BatchPredictor, notices
from submillion.errors import BadInput
from submillion.model.trained import open_run_classifier
from submillion.run import Run
from submillion.rundir import RunDir
from submillion.ship import suggest
from submillion.ship.predict import predict_file
from submillion.ship.predict_options import PredictOptions
from submillion.ship.serve.models import open_runs
from submillion.ship.serve.options import ServeOptions
from support.int8 import NAME, SimulatedInt8, proof, simulate
from support.tiny import tiny_texts
from support.tiny_run import NAMES, tiny_run

TEXTS = tiny_texts(12, seed=5)[0]
Ask = Callable[[RunDir, str], np.ndarray]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run, _ = tiny_run(tmp_path_factory.mktemp("home"))
    proof(run, float_matrices=[])
    run.update_manifest(status="complete")
    return run


@pytest.fixture
def run(made: RunDir, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    simulate(monkeypatch)
    return made


def by_predict(run: RunDir, precision: str) -> np.ndarray:
    file, out = run.path.with_name("in.txt"), run.path.with_name("out.csv")
    file.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    options = PredictOptions(with_confidence=True, precision=precision)
    predict_file(run.path, file, out, options=options, overwrite=True)
    with out.open(encoding="utf-8", newline="") as stream:
        return np.array([[row[f"p_{name}"] for name in NAMES] for row in csv.DictReader(stream)], np.float32)


def by_python(run: RunDir, precision: str) -> np.ndarray:
    return Run(run.path, precision=precision).predict_proba(TEXTS)


def by_batches(run: RunDir, precision: str) -> np.ndarray:
    predictor = BatchPredictor(run.path, probabilities=True, precision=precision)
    batch = predictor({"text": np.array(TEXTS)})
    return np.stack([batch[f"p_{name}"] for name in NAMES], axis=1)


def by_server(run: RunDir, precision: str) -> np.ndarray:
    (served,) = open_runs([run.path], precision)
    return served.opened.probabilities(TEXTS, 4)


@pytest.mark.parametrize("ask", [by_predict, by_python, by_batches, by_server])
def test_answers_are_in_int8_by_default_and_in_float_by_name(run: RunDir, ask: Ask) -> None:
    opened = open_run_classifier(run)
    exact = opened.probabilities(TEXTS, 4)
    rounded = opened.on(SimulatedInt8(opened.classifier)).probabilities(TEXTS, 4)
    assert np.abs(exact - rounded).max() > 1e-4
    np.testing.assert_allclose(ask(run, "auto"), rounded, atol=1e-6)
    np.testing.assert_allclose(ask(run, "float32"), exact, atol=1e-6)


@pytest.mark.parametrize(
    "refused",
    [
        lambda run: by_predict(run, "int4"),
        lambda run: by_python(run, "int4"),
        lambda run: by_batches(run, "int4"),
        lambda _: ServeOptions(precision="int4").check(),
    ],
)
def test_an_unknown_word_is_refused_before_anything_is_loaded(
    run: RunDir, refused: Callable[[RunDir], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("submillion.model.inference.open_run_classifier", lambda *_: pytest.fail("opened"))
    with pytest.raises(BadInput, match="one of auto, float32, bfloat16, int8, found 'int4'"):
        refused(run)


def test_suggestions_are_made_in_int8_too(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suggest, "_known", lambda *_: set())
    monkeypatch.setattr(suggest, "_columns", lambda *_: ("text", "label"))
    file = tmp_path / "in.txt"
    file.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    suggest.suggest_file(run.path, file, tmp_path / "out.csv", rows=3)
    assert "precision: int8 (proven" in " ".join(entry["text"] for entry in notices.collected())


def test_served_runs_that_share_an_encoder_are_in_float_unless_int8_is_named(
    run: RunDir, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "other")
    places = [run.path, tmp_path / "other"]
    shared = open_runs(places)
    assert [one.opened.execution.name for one in shared] == ["reference", "reference"]
    assert len({one.group for one in shared}) == 1
    alone = open_runs(places, "int8")
    assert [one.opened.execution.name for one in alone] == [NAME, NAME]
    assert len({one.group for one in alone}) == 2


def test_an_output_that_was_begun_in_another_precision_is_not_continued(run: RunDir) -> None:
    file, out = run.path.with_name("in.txt"), run.path.with_name("parts")
    file.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    predict_file(run.path, file, out, options=PredictOptions(precision="float32"))
    with pytest.raises(BadInput, match="the run and the options that began this output"):
        predict_file(run.path, file, out, options=PredictOptions(precision="auto", resume=True))
