"""The part "confidence": figures from the saved files, and default and user policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submillion import notices
from submillion.assess import registry
from submillion.assess.confidence.analysis import analyse
from submillion.assess.run_context import RunContext
from submillion.rundir import RunDir
from support.intervals import limits
from support.run import NEWS, TOPICS, made_predictions, made_run, save_split


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return made_run(tmp_path_factory.mktemp("made") / "run", sizes=(150, 150, 150, 150))


@pytest.fixture(scope="module")
def found(run: RunDir) -> dict[str, Any]:
    return analyse(RunContext(run))


def copied(run: RunDir, place: Path) -> RunDir:
    import shutil

    shutil.copytree(run.path, place)
    return RunDir.open(place)


def test_the_part_is_json_and_repeats(run: RunDir, found: dict[str, Any]) -> None:
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert analyse(RunContext(run)) == found


def test_each_split_is_described(run: RunDir, found: dict[str, Any]) -> None:
    assert list(found["splits"]) == ["validation", "test"]
    for split, scores in found["splits"].items():
        saved = run.load_predictions(split)
        assert scores["rows"] == 600
        assert scores["accuracy"]["value"] == (saved.labels == saved.predicted).mean()
        assert scores["mean_confidence"] == pytest.approx(saved.probabilities.max(axis=1).mean())
        assert sum(entry["rows"] for entry in scores["reliability"]) == 600
        assert scores["ece"]["bins"] == len(scores["reliability"]) == 15
        gaps = [
            entry["rows"] * abs(entry["accuracy"] - entry["confidence"]) for entry in scores["reliability"]
        ]
        assert scores["ece"]["value"] == pytest.approx(sum(gaps) / 600)
        assert scores["risk_coverage"]["risk"]["value"][-1] == pytest.approx(1 - scores["accuracy"]["value"])
        assert scores["aurc"]["best"] < scores["aurc"]["value"] < scores["aurc"]["random"]


def test_the_temperature_is_of_validation_and_helps_on_test(found: dict[str, Any]) -> None:
    heat = found["temperature"]
    assert heat["rows"] == 600
    assert heat["value"] < 0.7, "made predictions claim too little"
    for name in ("ece", "nll", "brier"):
        effect = heat["test"][name]
        assert effect["before"] == found["splits"]["test"][name]
        assert effect["after"]["value"] < effect["before"]["value"]
        assert effect["difference"]["value"] == pytest.approx(
            effect["after"]["value"] - effect["before"]["value"]
        )
        assert limits(effect["difference"])[1] < 0
    assert sum(entry["rows"] for entry in heat["test"]["reliability"]) == 600


def test_targets_are_reported_on_both_splits(run: RunDir, found: dict[str, Any]) -> None:
    assert [entry["target_accuracy"] for entry in found["targets"]] == [0.90, 0.95, 0.97, 0.98, 0.99, 0.995]
    reached = [entry for entry in found["targets"] if entry["threshold"] is not None]
    assert len(reached) >= 3
    for entry in reached:
        for split in ("validation", "test"):
            saved, given = run.load_predictions(split), entry[split]
            chosen = saved.probabilities.max(axis=1).astype(np.float64) >= entry["threshold"]
            assert (given["rows"], given["answered"]) == (600, chosen.sum())
            assert given["coverage"] == chosen.mean()
            assert given["accuracy"] == (saved.labels == saved.predicted)[chosen].mean()
        assert entry["validation"]["lower_limit"] >= entry["target_accuracy"]
    assert found["targets"][-1]["least_rows"] == 598
    coverages = [entry["validation"]["coverage"] for entry in reached]
    assert coverages == sorted(coverages, reverse=True)


def test_unreachable_targets_have_no_threshold(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(12, 12, 12, 12))
    *_, last = analyse(RunContext(run))["targets"]
    assert (last["threshold"], last["validation"], last["test"]) == (None, None, None)


# -- the policy --------------------------------------------------------------------------------------------------


def test_the_default_policy_is_the_lowest_target_above_the_accuracy(found: dict[str, Any]) -> None:
    accuracy = found["splits"]["validation"]["accuracy"]["value"]
    above = [
        entry for entry in found["targets"] if entry["target_accuracy"] > accuracy and entry["threshold"]
    ]
    assert found["policy"] == above[0] | {"chosen_by": "default"}


def test_the_users_target_is_kept_until_it_is_changed(run: RunDir, tmp_path: Path) -> None:
    own = copied(run, tmp_path / "run")
    registry.compute_parts(RunContext(own, answer_at=0.96), ["confidence"])
    policy = (own.read_analysis("confidence") or {})["policy"]
    assert (policy["target_accuracy"], policy["chosen_by"]) == (0.96, "user")
    assert policy["validation"]["lower_limit"] >= 0.96
    registry.compute_parts(RunContext(own), ["confidence"])
    assert (own.read_analysis("confidence") or {})["policy"] == policy
    kept = registry.recompute_part(RunContext(own), "confidence")
    assert kept["policy"] == policy
    registry.compute_parts(RunContext(own, answer_at=0.97), ["confidence"])
    assert (own.read_analysis("confidence") or {})["policy"]["target_accuracy"] == 0.97


def test_a_default_policy_is_not_taken_for_the_users(
    run: RunDir, tmp_path: Path, found: dict[str, Any]
) -> None:
    own = copied(run, tmp_path / "run")
    own.write_analysis("confidence", found | {"policy": found["policy"] | {"target_accuracy": 0.999}})
    assert analyse(RunContext(own))["policy"] == found["policy"]


def test_an_unreachable_target_is_reported_and_kept(run: RunDir, tmp_path: Path) -> None:
    own = copied(run, tmp_path / "run")
    registry.compute_parts(RunContext(own, answer_at=0.9999), ["confidence"])
    policy = (own.read_analysis("confidence") or {})["policy"]
    assert (policy["target_accuracy"], policy["threshold"], policy["test"]) == (0.9999, None, None)
    texts = [notice["text"] for notice in notices.collected() if notice["code"] == "target_not_reachable"]
    assert texts == [
        "no threshold reaches an accuracy of 0.9999 on the validation rows; it takes at least 29,956 of them, "
        "all answered right."
    ]


# -- runs that lack something -----------------------------------------------------------------------------------


def test_without_validation_nothing_is_fitted(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(20, 20, 20, 20), splits=("test",))
    found = analyse(RunContext(run))
    assert list(found["splits"]) == ["test"]
    assert (found["temperature"], found["targets"], found["policy"]) == (None, [], None)
    assert analyse(RunContext(run, answer_at=0.9))["policy"]["threshold"] is None


def test_without_a_labelled_test_split_its_figures_are_none(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(99, 99, 99, 99), splits=("validation",))
    save_split(run, "test", None, made_predictions((9, 9, 9, 9), 3.0)[1], NEWS)
    found = analyse(RunContext(run))
    assert list(found["splits"]) == ["validation"]
    assert found["temperature"]["test"] is None
    assert found["policy"]["validation"]["coverage"] > 0.5
    assert found["policy"]["test"] is None


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("right", [True, False])
def test_few_rows_and_probabilities_of_one_are_enough(tmp_path: Path, rows: int, right: bool) -> None:
    run = made_run(tmp_path / "run", splits=())
    labels = np.arange(rows) % 4
    for split in ("validation", "test"):
        answers = labels if right else (labels + 1) % 4
        save_split(run, split, labels, np.eye(4, dtype=np.float32)[answers], NEWS)
    found = analyse(RunContext(run))
    assert json.dumps(found, allow_nan=False)
    assert found["policy"] is None
    assert found["temperature"]["at_bound"] is True


def test_a_faultless_validation_split_needs_no_policy(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", splits=())
    labels = np.arange(400) % 4
    save_split(
        run,
        "validation",
        labels,
        np.full((400, 4), 0.1, np.float32) + 0.6 * np.eye(4, dtype=np.float32)[labels],
        NEWS,
    )
    found = analyse(RunContext(run))
    assert [entry["threshold"] for entry in found["targets"]] == [0.0, 0.0, 0.0, 0.0, 0.0, None]
    assert found["policy"] is None


def test_classes_that_do_not_occur_and_many_classes_are_fine(tmp_path: Path) -> None:
    names = [f"class {index}" for index in range(60)]
    run = made_run(tmp_path / "many", names=names, sizes=[3] * 60)
    assert analyse(RunContext(run))["splits"]["test"]["rows"] == 180
    rare = made_run(tmp_path / "rare", names=TOPICS, sizes=(30, 0, 1, 0, 20, 0, 0, 0))
    assert analyse(RunContext(rare))["splits"]["test"]["rows"] == 51
