"""Tests of `verify`: an unchanged run holds, and typical changes fail the checks that should detect them."""

from __future__ import annotations

import shutil

import pytest

from submillion.errors import BadInput
from submillion.fit import checkpoint
from submillion.rundir import RunDir
from submillion.verification.run.checks import CHECKS, verify
from submillion.verification.verdict import Verdict
from support.tampering import change_json, change_text, correct_a_wrong_answer, make_consistent


def failing(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.failing}


def test_unchanged_run_holds(run: RunDir) -> None:
    verdict = verify(run.path, full=True)
    assert verdict.holds, verdict.render()
    assert {check.name for check in verdict.checks} == {name for name, _, _ in CHECKS} - {"int8"}
    not_judged = {(check.name, check.strength) for check in verdict.checks if check.holds is None}
    assert not_judged == {
        ("statements", "only stated"),
        ("baselines", "only stated"),  # their seconds
        ("baselines", "not checked"),  # the probe
        ("retraining", "not checked"),
    }


def test_changed_prediction_is_detected(run: RunDir) -> None:
    correct_a_wrong_answer(run)
    assert failing(verify(run.path, full=True)) >= {"hashes", "metrics", "analysis", "pages", "predictions"}


def test_changed_prediction_is_detected_even_if_every_other_file_was_made_consistent(run: RunDir) -> None:
    """Hashes, metrics, analysis and card agree with the forged answer; the adapter does not."""
    correct_a_wrong_answer(run)
    make_consistent(run)
    verdict = verify(run.path, full=True)
    assert failing(verdict) == {"predictions"}, verdict.render()


def test_changed_metric_is_detected_with_its_path(run: RunDir) -> None:
    change_json(run.metrics, lambda metrics: metrics["test"].update(accuracy=0.999))
    verdict = verify(run.path, rows=0)
    assert failing(verdict) == {"metrics", "pages"}, verdict.render()
    assert "test.accuracy" in verdict.render() and "0.999" in verdict.render()


@pytest.mark.usefixtures("without_pages")
def test_changed_analysis_is_detected_even_if_its_hash_was_updated(run: RunDir) -> None:
    change_json(run.analysis_file("intervals"), lambda intervals: intervals.update(resamples=5))
    run.seal()
    verdict = verify(run.path, rows=0)
    assert failing(verdict) == {"analysis"} and "resamples" in verdict.render()


@pytest.mark.usefixtures("without_pages")
def test_changed_byte_of_the_adapter_is_detected(run: RunDir) -> None:
    file = run.adapter / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-2] ^= 0x40  # in the last number's exponent
    file.write_bytes(data)
    assert failing(verify(run.path, full=True)) >= {"hashes", "checkpoint", "predictions"}


@pytest.mark.usefixtures("without_pages")
def test_changed_rank_in_the_recipe_is_detected_even_if_its_hash_was_updated(run: RunDir) -> None:
    change_text(run.recipe, "r: 4", "r: 3")
    run.seal()
    assert failing(verify(run.path, rows=0)) >= {"adapter", "budget"}


@pytest.mark.usefixtures("without_pages")
def test_changed_data_is_detected(run: RunDir) -> None:
    file = run.path.parent / "test.csv"
    file.write_bytes(file.read_bytes().replace(b"class 0", b"class 1", 1))
    assert failing(verify(run.path, rows=0)) >= {"data", "rows"}


@pytest.mark.usefixtures("without_pages")
def test_missing_folder_is_detected(run: RunDir) -> None:
    shutil.rmtree(run.tokenizer)
    assert failing(verify(run.path, rows=0)) >= {"layout", "hashes"}


@pytest.mark.usefixtures("without_pages")
def test_other_rows_are_re_predicted_each_time_unless_a_seed_is_passed(run: RunDir) -> None:
    first, second = verify(run.path, rows=3), verify(run.path, rows=3)
    assert first.seed != second.seed
    assert verify(run.path, rows=3, seed=7).seed == 7
    assert verify(run.path, rows=0).seed is None


def test_run_that_is_still_training_is_refused(run: RunDir) -> None:
    run.update_manifest(status="running")
    with pytest.raises(BadInput, match=r"expected a run whose training has ended.*Finish it with `resume`\."):
        verify(run.path)


@pytest.mark.usefixtures("without_pages")
def test_setting_missing_in_an_older_checkpoint_has_its_default(run: RunDir) -> None:
    tensors, position = checkpoint.read(checkpoint.latest(run))
    del position["identity"]["train.max_tokens"]
    checkpoint.save(run, tensors, position)
    assert verify(run.path, rows=0).holds
    change_text(run.recipe, "max_tokens: null", "max_tokens: 5000")
    assert "checkpoint" in failing(verify(run.path, rows=0))
