"""The part "intervals": a run's scores with their intervals, and scores that are undefined."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from submillion.assess.metrics import metrics_of
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.intervals import analyse
from submillion.assess.statistics.proportions import f1_interval, wilson
from submillion.run_format.interval import interval
from support.intervals import limits
from support.run import NEWS, TOPICS, made_predictions, made_run, save_split


def test_a_runs_intervals_contain_its_metrics(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", names=TOPICS, sizes=(150, 40, 10, 200, 5, 20, 20, 12))
    found = analyse(RunContext(run))
    assert list(found["splits"]) == ["validation", "test"]
    for split, scores in found["splits"].items():
        saved = run.load_predictions(split)
        metrics = metrics_of(saved.labels, saved.probabilities, TOPICS)
        assert scores["rows"] == metrics["rows"]
        assert scores["accuracy"] == metrics["accuracy_interval"]
        assert scores["macro_f1"]["value"] == pytest.approx(metrics["macro_f1"])
        low, high = limits(scores["macro_f1"])
        assert low < metrics["macro_f1"] < high
        assert high - low > 2 * np.diff(limits(metrics["accuracy_interval"]))  # rare classes make it wide
        for name, score in metrics["per_class"].items():
            of_class = scores["per_class"][name]
            assert of_class["support"] == score["support"]
            for measure in ("precision", "recall", "f1"):
                assert of_class[measure]["value"] == pytest.approx(score[measure])
                low, high = limits(of_class[measure])
                assert 0 <= low <= score[measure] <= high <= 1
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_seed_determines_the_intervals(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(30, 30, 30, 30))
    first = analyse(RunContext(run))
    assert analyse(RunContext(run)) == first
    run.update_manifest(seed=43)
    other = analyse(RunContext(run))["splits"]["test"]["macro_f1"]
    assert other != first["splits"]["test"]["macro_f1"]


def test_a_file_scored_later_changes_nothing(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", sizes=(9, 9, 9, 9))
    before = analyse(RunContext(run))
    save_split(run, "later", *made_predictions((9, 9, 9, 9), 3.0), NEWS)
    save_split(run, "unlabelled", None, made_predictions((9, 9, 9, 9), 3.0)[1], NEWS)
    assert analyse(RunContext(run)) == before


def test_undefined_scores_are_none(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", splits=())
    # World is right twice; Business is never predicted; Sci/Tech has no rows and no predictions.
    probabilities = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]
    save_split(run, "validation", [0, 0, 1, 2], probabilities, NEWS)
    save_split(run, "test", None, probabilities, NEWS)
    scores = analyse(RunContext(run))["splits"]
    assert list(scores) == ["validation"], "a split without labels has no scores"
    per_class = scores["validation"]["per_class"]
    nothing = interval(None)
    assert per_class["Business"]["precision"] == nothing
    assert per_class["Business"]["recall"]["value"] == 0.0
    assert per_class["Business"]["f1"]["value"] == 0.0
    assert per_class["Sci/Tech"] == {"support": 0, "predicted": 0} | dict.fromkeys(
        ("precision", "recall", "f1"), nothing
    )
    assert per_class["World"]["f1"]["value"] == 1.0
    assert limits(per_class["World"]["f1"])[0] < 0.6, "two rows prove little"


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_without_mistakes_macro_f1_has_no_limits_and_without_rows_no_scores(
    tmp_path: Path, rows: int
) -> None:
    run = made_run(tmp_path / "run", splits=())
    labels = np.arange(rows) % 4
    save_split(run, "test", labels, np.eye(4, dtype=np.float32)[labels], NEWS)
    splits = analyse(RunContext(run))["splits"]
    if not rows:
        assert splits == {}
    else:
        assert splits["test"]["macro_f1"] == interval(1.0)
        assert limits(splits["test"]["accuracy"]) == wilson(rows, rows)


def test_f1_interval_by_hand() -> None:
    low, high = wilson(8, 10)
    assert limits(f1_interval(8, 10)) == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    assert limits(f1_interval(0, 4))[0] == 0.0
    assert limits(f1_interval(4, 4))[1] == 1.0
