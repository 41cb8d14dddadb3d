"""Tests that training leaves the caller's process as it was, and that it runs outside the main thread."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion.errors import BadInput
from submillion.fit.interrupt import SIGNALS, Interrupt
from submillion.fit.workers import Workers
from submillion.model.process_state import denormals_are_flushed
from support.fit_stub import (
    Disturbed,
    NanAtStep,
    StubClassifier,
    fit_stub,
    press_ctrl_c,
    same_tensors,
    train_recipe,
)

THREADS = torch.get_num_threads() + 1  # other than the caller's
RECIPE = train_recipe(epochs=2, threads=THREADS)


class Crash(Exception):
    """An error that the loop does not expect."""


def crash() -> None:
    raise Crash


def process_state() -> dict[str, Any]:
    """Return the settings of this process that a library must not change, in a form that `==` compares."""
    loggers = [logging.getLogger(name) for name in sorted(logging.root.manager.loggerDict)]
    state = {
        "torch": torch.default_generator.get_state().tolist(),
        "cuda": [generator.tolist() for generator in torch.cuda.get_rng_state_all()],
        "numpy": str(np.random.get_state()),
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "denormals": denormals_are_flushed(),
        "gradients": torch.is_grad_enabled(),
        "signals": [signal.getsignal(number) for number in SIGNALS],
        "warnings": list(warnings.filters),
        "logging": {logger.name: logger.level for logger in [logging.root, *loggers]},
        "environment": dict(os.environ),
        "directory": Path.cwd(),
    }
    del state["environment"]["PYTEST_CURRENT_TEST"]
    return state


def test_recipe_settings_hold_during_training(tmp_path: Path) -> None:
    seen: list[tuple[int, bool]] = []

    def look() -> None:
        seen.append((torch.get_num_threads(), denormals_are_flushed()))

    fit_stub(tmp_path, Disturbed(1, look), recipe=RECIPE)
    assert seen == [(THREADS, torch.set_flush_denormal(False))]


@pytest.mark.parametrize(
    ("event", "error"),
    [
        pytest.param(lambda: None, None, id="complete"),
        pytest.param(press_ctrl_c, None, id="interrupted"),
        pytest.param(crash, Crash, id="crashed"),
        pytest.param(lambda: [press_ctrl_c(), press_ctrl_c()], KeyboardInterrupt, id="aborted"),
    ],
)
def test_training_restores_the_state_of_the_process(
    tmp_path: Path, event: Callable[[], Any], error: type[BaseException] | None
) -> None:
    workers, classifier = Workers.start(), Disturbed(15, event)
    torch.rand(3)
    before = process_state()
    if error is None:
        fit_stub(tmp_path, classifier, recipe=RECIPE, workers=workers)
    else:
        with pytest.raises(error):
            fit_stub(tmp_path, classifier, recipe=RECIPE, workers=workers)
    assert process_state() == before


def test_diverged_training_restores_the_state_of_the_process(tmp_path: Path) -> None:
    workers, classifier = Workers.start(), NanAtStep(2)
    before = process_state()
    with pytest.raises(BadInput, match="expected a finite loss"):
        fit_stub(tmp_path, classifier, recipe=RECIPE, workers=workers)
    assert process_state() == before


def test_joining_the_processes_changes_nothing() -> None:
    before = process_state()
    Workers.start()
    assert process_state() == before


def test_training_runs_outside_the_main_thread(tmp_path: Path) -> None:
    whole, _, _ = fit_stub(tmp_path / "main", recipe=train_recipe())
    results: list[Any] = []
    before = process_state()
    thread = threading.Thread(
        target=lambda: results.append(fit_stub(tmp_path / "thread", StubClassifier(), recipe=train_recipe()))
    )
    thread.start()
    thread.join()
    assert process_state()["signals"] == before["signals"]
    ((classifier, result, _),) = results
    assert result.steps == 52 and same_tensors(whole, classifier)


def test_handler_that_python_did_not_install_is_left_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[int] = []
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    monkeypatch.setattr(signal, "signal", lambda number, handler: installed.append(number))
    with Interrupt() as interrupt:
        assert not interrupt.stop_requested
    assert installed == []
