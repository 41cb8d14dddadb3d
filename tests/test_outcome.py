"""Tests of outcome.py: the closing lines of a training."""

from __future__ import annotations

from pathlib import Path

from submillion.outcome import Outcome
from submillion.run_format.interval import interval
from submillion.rundir import RunDir
from support.baselines import made_baseline, made_baselines

SCORES = {
    "split": "test",
    "rows": 2189,
    "accuracy": 0.9776,
    "accuracy_interval": interval(0.9776, 0.9705, 0.983),
    "macro_f1": 0.9531,
}


def test_the_closing_lines(tmp_path: Path) -> None:
    (tmp_path / "report.html").touch()
    lines = Outcome(RunDir(tmp_path), {"test": SCORES}, 980_360, False).render().splitlines()
    assert lines == [
        "test accuracy 97.76% (95% interval 97.05 to 98.30%), macro F1 0.9531, 2,189 rows",
        "trainable parameters 980,360",
        f"report: {tmp_path / 'report.html'}",
    ]


def test_an_interrupted_training_says_how_to_continue(tmp_path: Path) -> None:
    outcome = Outcome(RunDir(tmp_path), {"validation": SCORES}, 5, True)
    assert f"interrupted; continue with: submillion resume {tmp_path}" in outcome.render().splitlines()
    assert outcome.to_json() == {
        "run": str(tmp_path),
        "interrupted": True,
        "trainable": 5,
        "metrics": {"validation": SCORES},
        "verdict": None,
    }


def test_the_verdict_is_in_the_closing_lines_and_in_the_json(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    part = made_baselines({"majority": made_baseline("most frequent class", -0.002)})
    run.write_analysis("baseline", part)
    outcome = Outcome(run, {"test": SCORES}, 980_360, False)
    assert outcome.render().splitlines()[1] == part["verdict"]["sentence"]
    assert outcome.to_json()["verdict"] == part["verdict"]


def test_a_cross_validation_has_its_own_interval(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    scores = {
        **{"meaning": "", "limitations": "", "folds": 5, "repeats": 1, "rows": 2189, "never_predicted": 0},
        **{"scores": [], "by_repeat": [], "cost": {"seconds": 1.0, "cpu_seconds": 1.0}},
        **{"accuracy": interval(0.9, 0.8, 0.95), "macro_f1": interval(0.88, 0.7, 0.93)},
    }
    run.write_analysis("cross_validation", scores)
    first = Outcome(run, {"validation": SCORES}, 5, False).render().splitlines()[0]
    assert (
        first
        == "cross-validation accuracy 90.00% (95% interval 80.00 to 95.00%), macro F1 0.8800, 2,189 rows"
    )
