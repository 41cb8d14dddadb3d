"""The progress bar that all rooms share: on a terminal, elsewhere, and switched off."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from submillion.terminal import progress
from submillion.terminal.progress import ProgressOption, named_work, progress_bar


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Replace standard error; called in the test itself, as pytest puts its own back between fixture and test."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return screen


class Clock:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        # Not the function of the module `time`: the event loops of other threads read it.
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_long_work_shows_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, terminal = Clock(monkeypatch), use_terminal(monkeypatch)
    with progress_bar(True, 200, "predicting") as advance:
        advance(40)
        assert terminal.getvalue() == ""
        clock.now += 2.1
        advance(60)
    drawn = terminal.getvalue()
    assert "predicting" in drawn
    assert "100/200" in drawn


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, terminal = Clock(monkeypatch), use_terminal(monkeypatch)
    with progress_bar(True, 200, "predicting") as advance:
        clock.now += 1.9
        advance(200)
    assert terminal.getvalue() == ""


def test_rows_are_counted_if_the_total_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, terminal = Clock(monkeypatch), use_terminal(monkeypatch)
    with progress_bar(True, None, "predicting") as advance:
        clock.now += 2.1
        advance(4096)
    assert "4,096 rows" in terminal.getvalue()


@pytest.mark.parametrize(
    ("total", "done", "lines"),
    [
        (200, 0, ["90/200 rows, 1.5 rows/s, 0:01:13 left", "180/200 rows, 1.5 rows/s, 0:00:13 left"]),
        (None, 0, ["90 rows, 1.5 rows/s", "180 rows, 1.5 rows/s"]),
        (9000, 600, ["690/9,000 rows, 1.5 rows/s, 1:32:20 left", "780/9,000 rows, 1.5 rows/s, 1:31:20 left"]),
    ],
)
def test_a_line_a_minute_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    total: int | None,
    done: int,
    lines: list[str],
) -> None:
    clock = Clock(monkeypatch)
    with progress_bar(True, total, "predicting", done) as advance:
        for _ in range(6):
            clock.now += 20
            advance(30)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [f"predicting: {line}" for line in lines]
    assert captured.out == ""


def test_folds_have_no_rate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock(monkeypatch)
    with progress_bar(True, 5, "cross-validation", unit="folds") as advance:
        clock.now += 60
        advance(2)
    assert capsys.readouterr().err == "cross-validation: 2/5 folds, 0:01:30 left\n"


def test_false_shows_nothing_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, terminal = Clock(monkeypatch), use_terminal(monkeypatch)
    with progress_bar(False, 200, "predicting") as advance:
        clock.now += 1000
        advance(200)
    assert terminal.getvalue() == ""


def test_a_callable_receives_the_rows_done(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[int] = []
    with progress_bar(rows.append, 5, "predicting") as advance:
        advance(2)
        advance(3)
    assert rows == [2, 3]
    assert capsys.readouterr().err == ""


def test_rich_is_imported_only_for_a_bar() -> None:
    code = (
        "import sys\nfrom submillion.terminal.progress import progress_bar\n"
        "with progress_bar(True, 3, 'x') as advance: advance(3)\nassert 'rich' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE).returncode == 0


def test_long_work_that_is_not_counted_is_named_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 0.01)
    with named_work(True, "fitting simpler models"):
        while not (shown := capsys.readouterr().err):
            time.sleep(0.001)
        time.sleep(0.03)
    assert shown + capsys.readouterr().err == "fitting simpler models\n"


@pytest.mark.parametrize("option", [False, lambda rows: None])
def test_work_is_named_only_for_who_wants_progress(
    option: ProgressOption, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 0.001)
    with named_work(option, "fitting simpler models"):
        time.sleep(0.03)
    assert capsys.readouterr().err == ""


def test_short_work_is_not_named(capsys: pytest.CaptureFixture[str]) -> None:
    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError), named_work(True, "dividing"):
        _ = 1 / 0
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threading.active_count() == threads
    assert capsys.readouterr().err == ""
