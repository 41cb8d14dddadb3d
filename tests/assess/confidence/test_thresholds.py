"""The part "thresholds": its request, its figures on rows that chose and rows that did not, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from submillion import notices
from submillion.assess import registry
from submillion.assess.confidence.thresholds import FOLDS, analyse
from submillion.assess.run_context import RunContext
from submillion.errors import BadInput
from submillion.model.class_thresholds import ClassThresholds, ThresholdRequest, class_thresholds
from submillion.run_format import typed
from submillion.run_format.analysis_thresholds import Thresholds
from submillion.rundir import RunDir
from support.run import NEWS, made_run


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return made_run(tmp_path / "run", sizes=(150, 100, 40, 12))


@pytest.mark.parametrize("words", ["macro_f1", "precision=0.9"])
def test_the_part_is_typed_json_that_can_be_recomputed(run: RunDir, words: str) -> None:
    registry.compute_parts(RunContext(run, class_thresholds=ThresholdRequest.of(words)), ["thresholds"])
    saved = json.loads(json.dumps(run.read_analysis("thresholds"), allow_nan=False))
    saved.pop(registry.COST)
    typed.check(saved, Thresholds, "thresholds")
    again = registry.recompute_part(RunContext(run), "thresholds")
    assert json.loads(json.dumps(again)) == saved, "the objective is the one of the file"
    assert [entry["rows"] for entry in saved["classes"].values()] == [150, 100, 40, 12]


def test_rows_that_choose_are_scored_better_than_rows_that_do_not(run: RunDir) -> None:
    found = analyse(RunContext(run, class_thresholds=ThresholdRequest.of("macro_f1")))
    own, fitted, test = (found[name]["comparison"] for name in ("chosen_on", "cross_fitted", "test"))
    assert own and fitted and test
    assert own["macro_f1"]["difference"] > 0
    assert own["macro_f1"]["a"] > fitted["macro_f1"]["a"]
    assert own["macro_f1"]["b"] == fitted["macro_f1"]["b"], "without thresholds nothing is fitted"
    assert found["cross_fitted"]["folds"] == FOLDS
    notice = next(entry for entry in notices.collected() if entry["code"] == "class_thresholds")
    assert notice["difference"] == fitted["macro_f1"]["difference"]
    assert f"{fitted['macro_f1']['a']:.4f}" in notice["text"]


def test_the_saved_thresholds_give_the_answers_that_were_scored(run: RunDir) -> None:
    for words in ("macro_f1", "precision=0.9"):
        registry.compute_parts(RunContext(run, class_thresholds=ThresholdRequest.of(words)), ["thresholds"])
        found = run.read_analysis("thresholds")
        assert found
        test = run.load_predictions("test")
        answers = class_thresholds(run).answers(test.probabilities)
        counts = [int((answers == index).sum()) for index in range(len(NEWS))]
        by_class = found["test"]["with_thresholds"]["by_class"]
        assert [by_class[name]["answered"] for name in NEWS] == counts
        answered = answers >= 0
        assert found["test"]["with_thresholds"]["accuracy"] == (answers == test.labels)[answered].mean()
        assert (found["test"]["comparison"] is None) == bool((~answered).any())


def test_classes_that_cannot_reach_a_precision_are_named(run: RunDir) -> None:
    found = analyse(RunContext(run, class_thresholds=ThresholdRequest.of("precision=0.99")))
    never = [name for name, entry in found["classes"].items() if entry["threshold"] is None]
    assert "Sci/Tech" in never
    notice = next(entry for entry in notices.collected() if entry["code"] == "class_thresholds")
    assert notice["never"] == never
    assert "No threshold reaches a precision of 0.99 for" in notice["text"]


@pytest.mark.parametrize("words", ["f1", "precision", "precision=1", "precision=nan", "macro_f1=0.5", ""])
def test_other_objectives_are_refused(words: str) -> None:
    with pytest.raises(BadInput, match="`class_thresholds`: expected macro_f1, or precision="):
        ThresholdRequest.of(words)


def test_a_run_without_enough_validation_rows_is_refused(tmp_path: Path) -> None:
    few = made_run(tmp_path / "few", sizes=(4, 3, 2, 1))
    with pytest.raises(BadInput, match="expected a class with at least 5 validation rows, found 4 rows"):
        analyse(RunContext(few))
    few.prediction_file("validation").unlink()
    with pytest.raises(BadInput, match="labelled validation rows"):
        analyse(RunContext(few))


def test_all_parts_do_not_choose_thresholds() -> None:
    assert "thresholds" not in registry.possible_parts(True)
    registry.check_names(["thresholds"])


def test_a_run_without_thresholds_is_refused(run: RunDir) -> None:
    with pytest.raises(BadInput, match="expected a threshold per class, found none. Choose them"):
        class_thresholds(run)
    registry.compute_parts(RunContext(run), ["thresholds"])
    manifest = run.read_manifest()
    run.write_json(run.manifest, {**manifest, "labels": [*NEWS[:3], "Other"]})
    with pytest.raises(BadInput, match="a threshold for each class of the run"):
        class_thresholds(run)


def test_even_thresholds_change_no_answer(run: RunDir) -> None:
    probabilities = run.load_predictions("test").probabilities
    even = ClassThresholds("macro_f1", np.full(4, 0.25))
    assert (even.answers(probabilities) == probabilities.argmax(axis=1)).all()
