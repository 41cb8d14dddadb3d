"""Tests of rows that are predicted again: bit for bit, within rounding, and of files that `evaluate` added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submillion import reporting
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from submillion.verification.run import checks, data, predictions
from submillion.verification.run.checks import verify
from submillion.verification.run.predictions import Again, _flips, _shift
from submillion.verification.verdict import Verdict
from support.forgeries import seal
from support.tampering import change_columns, change_json
from support.trained import trained_in

LABELS = np.array([0] * 50)


@pytest.fixture(autouse=True)
def only_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the two checks of predictions alone."""
    needed = (data.predicted_rows, predictions.predictions)
    monkeypatch.setattr(checks, "CHECKS", [entry for entry in checks.CHECKS if entry[2] in needed])


def by_split(verdict: Verdict) -> dict[str, tuple[str, str]]:
    return {
        check.where: (check.strength, check.found) for check in verdict.checks if check.name == "predictions"
    }


def test_a_sample_and_all_rows_are_equal_bit_for_bit(run: RunDir) -> None:
    all_rows = by_split(verify(run.path))["predictions/test.parquet"]
    assert all_rows == ("predicted again", "predicted again: all 40 rows; equal bit for bit")
    strength, found = by_split(verify(run.path, rows=10))["predictions/test.parquet"]
    assert strength == "predicted again" and "10 of 40 rows, which 5 changed rows escape" in found


def test_a_sample_is_taken_where_all_rows_would_take_too_long(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "QUICK_S", 0.0)
    monkeypatch.setattr(predictions, "SAMPLE", 7)
    verdict = verify(run.path)
    assert verdict.seed is not None
    assert all(found.startswith("predicted again: 7 of ") for _, found in by_split(verdict).values())


def test_one_changed_bit_is_found_on_the_machine_of_the_training(run: RunDir) -> None:
    def nudge(columns: dict[str, list[Any]]) -> None:
        name = next(name for name in columns if name.startswith("p_"))
        columns[name][3] = float(np.nextafter(np.float32(columns[name][3]), np.float32(1)))

    change_columns(run, "test", nudge)
    (failing,) = verify(run.path).failing
    assert "predictions/test.parquet: id 3" in failing.where and "allowed difference 0" in failing.found


def test_rounding_of_another_machine_is_allowed_and_said(run: RunDir) -> None:
    rng = np.random.default_rng(0)

    def round_otherwise(columns: dict[str, list[Any]]) -> None:
        names = [name for name in columns if name.startswith("p_")]
        for row in range(len(columns["id"])):
            change = float(rng.normal(0, 2e-7))
            columns[names[0]][row] += change
            columns[names[1]][row] -= change

    change_columns(run, "test", round_otherwise)
    change_json(run.manifest, lambda manifest: manifest["machine"].update(processor="Another Processor"))
    strength, found = by_split(verify(run.path))["predictions/test.parquet"]
    assert strength == "predicted again" and "allowed 0.0001" in found and "Another Processor" in found


def test_the_rounding_of_a_saved_pissa_adapter_is_allowed_and_said(tmp_path: Path) -> None:
    run = trained_in(tmp_path, overrides=["lora.variant=pissa", "head.kind=linear"], report=False)
    verdict = verify(run.path)
    assert not verdict.failing
    strength, found = by_split(verdict)["predictions/validation.parquet"]
    assert strength == "predicted again" and "allowed 0.0001 (a PiSSA adapter is saved" in found


def test_a_file_that_evaluate_scored_is_predicted_again_while_it_is_there(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "write_report", lambda path: None)
    file = run.path.parent / "new.csv"
    file.write_bytes((run.path.parent / "test.csv").read_bytes())
    reporting.evaluate(run.path, file)
    assert by_split(verify(run.path))["predictions/new.parquet"][0] == "predicted again"

    saved = run.load_predictions("new")
    wrong = np.roll(saved.probabilities, 1, axis=1)
    fields = (saved.ids, saved.text_sha256, saved.labels, wrong, saved.label_names)
    run.save_predictions("new", Predictions.of(*fields))
    seal(run)
    assert {check.name for check in verify(run.path).failing} == {"predictions"}

    file.unlink()
    verdict = verify(run.path)
    assert verdict.holds and "predictions/new.parquet" not in by_split(verdict)
    assert ("rows", "only stated") in {(check.name, check.strength) for check in verdict.checks}


def again(claimed: list[float], actual: list[float]) -> Again:
    """Return rows of class 0 in a problem of two classes, by the probabilities of class 0."""

    def both(values: list[float]) -> np.ndarray:
        column = np.array(values, dtype=np.float32)
        return np.stack([column, 1 - column], axis=1)

    ids = [str(row) for row in range(len(claimed))]
    saved = Predictions.of(ids, ids, LABELS[: len(claimed)], both(claimed), ["a", "b"])
    return Again("test", saved, np.arange(len(claimed)), both(actual))


def test_rows_with_another_class_fail_if_they_favour_the_run_too_often() -> None:
    in_favour, against = ([0.51], [0.49]), ([0.49], [0.51])
    assert not _flips(again(in_favour[0] * 3, in_favour[1] * 3))[1]
    text, fails = _flips(again(in_favour[0] * 7, in_favour[1] * 7))
    assert fails and text.startswith("7 rows have another class here, 7 to the run's advantage and 0")
    mixed = [in_favour[side][0] for side in (0,) * 5] + [0.49] * 5
    assert not _flips(again(mixed, [1 - value for value in mixed]))[1]
    assert not _flips(again(against[0] * 9, against[1] * 9))[1]


def test_a_mean_shift_towards_the_true_classes_fails_and_noise_does_not() -> None:
    rng = np.random.default_rng(0)
    actual = rng.uniform(0.3, 0.9, 50)
    noise = rng.normal(0, 0.01, 50)
    assert not _shift(again((actual + noise).tolist(), actual.tolist()), 0.05)[1]
    assert _shift(again((actual + noise + 0.02).tolist(), actual.tolist()), 0.05)[1]
    assert not _shift(again((actual - noise - 0.02).tolist(), actual.tolist()), 0.05)[1]
