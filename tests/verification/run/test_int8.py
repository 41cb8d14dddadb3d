"""Tests of the check `int8`: an honest proof holds, forgeries do not, and without kernels the verdict says so."""

from __future__ import annotations

import numpy as np
import pytest

from submillion.assess import registry
from submillion.assess.int8_proof import FOLDER, SPLIT
from submillion.assess.run_context import RunContext
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from submillion.verification.run import checks, int8, scores
from submillion.verification.run.checks import verify
from submillion.verification.verdict import Verdict
from support.int8 import simulate
from support.tampering import change_json


@pytest.fixture
def proven(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """Return a run with the part `int8`, to be verified by the checks that read it."""
    simulate(monkeypatch)
    registry.compute_parts(RunContext(run), ["int8"])
    run.seal()
    needed = (int8.int8, scores.analysis)
    monkeypatch.setattr(checks, "CHECKS", [entry for entry in checks.CHECKS if entry[2] in needed])
    return run


def of_int8(verdict: Verdict) -> dict[str, bool | None]:
    return {check.where: check.holds for check in verdict.checks if check.name == "int8"}


def failing(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.failing}


def shift(run: RunDir, change: float) -> None:
    """Change the first answer in int8 by so much, and make everything that follows from it consistent."""
    saved = run.load_predictions(SPLIT, baseline=FOLDER)
    values = saved.probabilities.copy()
    low, high = values[0].argmin(), values[0].argmax()
    values[0, low] += change
    values[0, high] -= change
    fields = (saved.ids, saved.text_sha256, saved.labels, values, saved.label_names)
    run.save_predictions(SPLIT, Predictions.of(*fields), baseline=FOLDER)
    cost = run.read_json(run.analysis_file("int8"))[registry.COST]
    run.write_analysis("int8", registry.recompute_part(RunContext(run), "int8") | {registry.COST: cost})
    run.seal()


def test_an_honest_proof_is_measured_and_answered_again(proven: RunDir) -> None:
    verdict = verify(proven.path)
    assert verdict.holds, verdict.render()
    assert of_int8(verdict) == {f"{int8.WHERE}: calibration": True, int8.ANSWERS: True}
    assert "equal bit for bit" in verdict.render()


def test_a_forged_verdict_is_detected(proven: RunDir) -> None:
    change_json(proven.analysis_file("int8"), lambda part: part.update(proven=True))
    assert failing(verify(proven.path)) == {"analysis"}


def test_an_outlier_cannot_be_hidden(proven: RunDir) -> None:
    change_json(
        proven.analysis_file("int8"),
        lambda part: part["calibration"]["errors"]["ffn_down"].__setitem__(0, 0.00123),
    )
    verdict = verify(proven.path)
    assert failing(verdict) == {"int8"}
    assert "calibration: errors.ffn_down" in verdict.render()


def test_an_answer_that_int8_does_not_give_is_detected(proven: RunDir) -> None:
    shift(proven, 1e-4)
    verdict = verify(proven.path)
    assert failing(verdict) == {"int8"} and int8.ANSWERS in verdict.render()


def test_elsewhere_rounding_is_allowed_and_another_answer_is_not(
    proven: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("submillion.verification.run.case.Case.other_arithmetic", ["another processor"])
    shift(proven, 1e-4)
    assert verify(proven.path).holds
    shift(proven, 0.2)
    assert failing(verify(proven.path)) == {"int8"}


def test_a_proof_of_another_adapter_is_detected(proven: RunDir) -> None:
    change_json(
        proven.analysis_file("int8"),
        lambda part: part["adapter"].update({"adapter/adapter_model.safetensors": "0" * 64}),
    )
    assert failing(verify(proven.path)) == {"analysis"}


def test_without_kernels_the_verdict_names_what_was_not_made_again(
    proven: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(monkeypatch, "the processor has no avx512_vnni")
    verdict = verify(proven.path)
    assert verdict.holds and set(of_int8(verdict).values()) == {None}
    for words in ("the errors were not made again", "the answers were not made again", "no avx512_vnni"):
        assert words in verdict.render()


def test_without_a_proof_there_is_nothing_to_check(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHECKS", [entry for entry in checks.CHECKS if entry[2] is int8.int8])
    assert verify(run.path).checks == []


def test_the_run_is_sampled_with_the_seed(proven: RunDir) -> None:
    some = int8._rows(checks.Case(proven, proven.path, checks.Options(rows=5, seed=1)), 16)
    assert len(np.unique(some)) == 5 and (np.diff(some) > 0).all()
