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
