"""Tests of the progress shown during training."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from submillion.fit import progress
from submillion.fit.progress import TrainingProgress
from submillion.fit.stopping import Stopping

RECORD = {"step": 50, "epoch": 1, "accuracy": 0.9, "macro_f1": 0.88, "loss": 0.31, "best": True}


class Clock:
    """A clock that the test advances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        # Not the function of the module `time`: the event loops of other threads read it.
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_one_line_per_minute_and_one_per_evaluation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with TrainingProgress(200) as shown:
        for step in range(1, 41):
            clock.now += 2
            shown.step_done(step)
            if step == 20:
                shown.logged(0.5, 12.34)
        stopping = Stopping(2)
        stopping.update(50, 1, {"accuracy": 0.9, "loss": 0.31, "macro_f1": 0.88})
        clock.now += 20
        shown.evaluated(RECORD, stopping)
    assert capsys.readouterr().err.splitlines() == [
        "step 30/200: loss 0.5000; 12.3 samples/s; at most 0:05:40 left",
        "step 50/200: epoch 1: validation accuracy 90.00%, macro F1 0.8800, loss 0.3100, best so far; "
        "loss 0.5000; 12.3 samples/s; best 90.00% at step 50; at most 0:05:00 left",
    ]


def test_time_left_of_a_resumed_training_counts_only_its_own_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with TrainingProgress(200, first_step=100) as shown:
        clock.now += 60
        shown.step_done(110)
    assert "at most 0:09:00 left" in capsys.readouterr().err


def test_time_left_is_at_most_that_of_the_time_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with TrainingProgress(200, seconds_left=100) as shown:
        for step in (10, 20):
            clock.now += 60
            shown.step_done(step)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["at most 0:00:40 left", "at most 0:00:00 left"]


def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock(monkeypatch)
    with TrainingProgress(200, shown=False) as shown:
        clock.now += 1000
        shown.step_done(1)
        shown.logged(0.5, 1)
        stopping = Stopping(2)
        stopping.update(50, 1, {"accuracy": 0.9, "loss": 0.31, "macro_f1": 0.88})
        shown.evaluated(RECORD, stopping)
    assert capsys.readouterr().err == ""


def test_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    clock = Clock(monkeypatch)
    with TrainingProgress(200) as shown:
        shown.logged(0.5, 12.34)
        clock.now += 1
        shown.step_done(50)
        stopping = Stopping(2)
        stopping.update(50, 1, {"accuracy": 0.9, "loss": 0.31, "macro_f1": 0.88})
        shown.evaluated(RECORD, stopping)
    drawn = screen.getvalue()
    parts = ("50/200", "loss 0.5000", "12.3 samples/s", "best 90.00% at step 50", "accuracy 90.00%")
    assert [part for part in parts if part not in drawn] == []
