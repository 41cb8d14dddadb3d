"""Tests of the part "int8": its figures, what counts as a proof, what it refuses, and when a training makes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submillion import scoring
from submillion.assess import int8_proof, registry
from submillion.assess.int8_proof import FOLDER, LARGEST_DIFFERENCE, SPLIT, is_due, least_rows
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.agreement import agreement
from submillion.assess.statistics.proportions import paired_interval
from submillion.errors import BadInput
from submillion.run_format import typed
from submillion.run_format.analysis_int8 import Int8
from submillion.rundir import RunDir
from support.int8 import NAME, simulate
from support.trained import trained_in


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("int8")
    trained_in(home)
    return home


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    simulate(monkeypatch)
    shutil.copytree(trained, tmp_path / "home")
    return RunDir.open(tmp_path / "home" / "run")


def test_the_part_is_typed_json_that_follows_from_its_answers(run: RunDir) -> None:
    registry.compute_parts(RunContext(run), ["int8"])
    saved = json.loads(json.dumps(run.read_analysis("int8"), allow_nan=False))
    saved.pop(registry.COST)
    typed.check(saved, Int8, "int8")
    assert saved["execution"] == NAME
    assert saved["agreement"]["argmax_agreement"] >= 0.8
    assert not saved["proven"] and f"at least {least_rows():,} labelled rows" in saved["reason"]
    assert json.loads(json.dumps(registry.recompute_part(RunContext(run), "int8"))) == saved
    answers, own = run.load_predictions(SPLIT, baseline=FOLDER), run.load_predictions(SPLIT)
    assert answers.ids == own.ids
    assert 0 < np.abs(answers.probabilities - own.probabilities).max() < 0.1


def test_matrices_with_larger_errors_stay_in_float(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    kernels = int8_proof.open_int8
    monkeypatch.setattr(int8_proof, "open_int8", lambda *given: opened.append(given[1]) or kernels(*given))
    errors = int8_proof.calibrated(RunContext(run), RunContext(run).opened)["errors"]
    every = {(layer, name): error for name, values in errors.items() for layer, error in enumerate(values)}
    limit = sorted(every.values())[-3]
    monkeypatch.setattr(int8_proof, "LARGEST_ERROR", limit)
    found = int8_proof.analyse(RunContext(run))
    floats = {(entry["layer"], entry["matrix"]) for entry in found["float_matrices"]}
    assert floats == {name for name, error in every.items() if error > limit} == set(opened[0])
    assert len(floats) == 2


def test_calibration_reads_training_texts_alone(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    context = RunContext(run)
    monkeypatch.setattr(int8_proof, "CALIBRATION_ROWS", 10**6)
    tokens, sha256 = int8_proof.calibration_texts(context, context.opened)
    assert len(tokens) == len(context.train) and len(sha256) == 64
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("rows", "changed", "wrong", "proven", "words"),
    [
        (1957, 0, 0, False, "at least 1,958 labelled rows"),
        (1958, 0, 0, True, "100.00% of 1,958"),
        (12000, 24, 12, True, "99.80% of 12,000"),
        (12000, 25, 12, False, "99.79%"),
        (12000, 20, 20, False, "at most 0.1 either way"),
    ],
)
def test_a_proof_takes_equal_classes_and_an_interval_within_a_tenth_of_a_point(
    rows: int, changed: int, wrong: int, proven: bool, words: str
) -> None:
    """`wrong` of the `changed` rows were right in float, the others are right in int8 only."""
    labels = np.zeros(rows, dtype=np.int64)
    own, other = np.tile([0.9, 0.1], (rows, 1)), np.tile([0.9, 0.1], (rows, 1))
    other[:wrong] = [0.1, 0.9]
    own[wrong:changed] = [0.1, 0.9]
    found = agreement(other, own, labels)
    assert found["interval"] == paired_interval(changed - wrong, wrong, rows)
    verdict, reason = int8_proof._verdict(found, rows)
    assert (verdict, words in reason) == (proven, True), reason


def test_fewer_rows_than_the_least_can_prove_nothing() -> None:
    assert least_rows() == 1958
    high = paired_interval(0, 0, least_rows() - 1)["high"]
    assert high is not None and high > LARGEST_DIFFERENCE


def test_rows_without_labels_prove_nothing() -> None:
    same = np.tile([0.9, 0.1], (3000, 1))
    proven, reason = int8_proof._verdict(agreement(same, same, np.full(3000, -1)), 0)
    assert not proven and "no labels" in reason


def test_a_training_makes_the_part_only_where_it_can_succeed(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_due(RunContext(run)), "too few validation rows"
    monkeypatch.setattr(int8_proof, "least_rows", lambda: 5)
    assert is_due(RunContext(run))
    simulate(monkeypatch, "no int8 kernels for this processor")
    assert not is_due(RunContext(run))


def test_the_end_of_a_training_makes_the_proof_or_deletes_one_of_an_earlier_adapter(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []
    monkeypatch.setattr(scoring.reporting, "after_training", lambda _, parts: made.append(list(parts)))
    monkeypatch.setattr(int8_proof, "least_rows", lambda: 5)
    scoring._after_training(RunContext(run))
    registry.compute_parts(RunContext(run), made[0])
    assert made == [["int8"]] and run.analysis_file("int8").is_file()
    monkeypatch.undo()
    monkeypatch.setattr(scoring.reporting, "after_training", lambda _, parts: made.append(list(parts)))
    scoring._after_training(RunContext(run))
    assert made[1] == [] and not run.analysis_file("int8").exists()


def test_without_kernels_the_part_is_refused(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, "no int8 kernels for this processor")
    with pytest.raises(BadInput, match="no int8 kernels for this processor"):
        int8_proof.analyse(RunContext(run))
    assert run.read_analysis("int8") is None


def test_the_part_is_made_by_name_only() -> None:
    assert "int8" not in registry.possible_parts()
    registry.check_names(["int8"])
