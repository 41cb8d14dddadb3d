"""Tests of experiment trackers: what they write to disk, and the messages for missing ones."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from submillion.errors import BadInput
from submillion.fit import tracking
from submillion.rundir import RunDir
from support.fit_stub import StubClassifier, fit_stub, train_recipe

CONFIG = {"name": "tiny", "lora": {"r": 8, "targets": ["query", "value"]}, "encoder": {"revision": None}}
METRICS = ("train/loss", "train/learning_rate", "train/grad_norm", "eval/accuracy", "eval/macro_f1")


def test_sections_are_flattened_and_unsupported_values_become_text() -> None:
    assert tracking.flat(CONFIG) == {
        "name": "tiny",
        "lora.r": 8,
        "lora.targets": "['query', 'value']",
        "encoder.revision": "None",
    }


@pytest.mark.parametrize("name", ["wandb", "tensorboard", "mlflow", "trackio"])
def test_missing_tracker_is_refused_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda module: None if module == name else find_spec(module))
    with pytest.raises(BadInput, match=rf'`track`: {name}: .*pip install "submillion\[{name}\]"'):
        tracking.check(["wandb", "tensorboard", name])
    with pytest.raises(BadInput, match="expected an installed tracker"):
        fit_stub(tmp_path, trackers=[name])


def test_tracker_that_does_not_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")

    def not_logged_in(**_: Any) -> None:
        raise wandb.errors.UsageError("No API key configured")

    monkeypatch.setattr(wandb, "init", not_logged_in)
    with pytest.raises(BadInput, match=r"UsageError: No API key configured.*WANDB_MODE=offline"):
        fit_stub(tmp_path, trackers=["wandb"])


def test_tensorboard_receives_every_figure_at_its_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, _, run = fit_stub(
        tmp_path, trackers=["tensorboard"], tracker_config=CONFIG, recipe=train_recipe(epochs=2)
    )
    events = EventAccumulator(str(run.trackers / "submillion"))
    events.Reload()
    assert set(METRICS) <= set(events.Tags()["scalars"])
    logged = [(event.step, event.value) for event in events.Scalars("eval/accuracy")]
    expected = [
        (record["step"], record["accuracy"]) for record in run.read_history() if record["kind"] == "eval"
    ]
    assert logged == [(step, pytest.approx(accuracy)) for step, accuracy in expected]


def test_wandb_offline_writes_figures_and_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    _, _, run = fit_stub(
        tmp_path / "try1", trackers=["wandb"], tracker_config=CONFIG, recipe=train_recipe(epochs=1)
    )
    wandb.teardown()  # waits for wandb's own process, which may still be writing after the run was closed
    (file,) = run.trackers.glob("wandb/offline-run-*/run-*.wandb")
    content = file.read_bytes()
    for name in (*METRICS, "lora.targets", "submillion", "try1"):
        assert name.encode() in content, name


def test_resumed_training_is_a_new_tracker_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, Any]] = []
    monkeypatch.setattr(
        tracking.Accelerator,
        "init_trackers",
        lambda self, project, config, init_kwargs: started.append(init_kwargs),
    )
    for step in (0, 40):
        tracking.Tracking(["wandb"], RunDir(tmp_path / "agnews"), {}, step).finish()
    names = [options["wandb"]["name"] for options in started]
    assert names == ["agnews", "agnews, from step 40"]


def test_no_tracker_is_started_unless_requested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "Accelerator", None)  # calling it would fail
    _, result, run = fit_stub(tmp_path, StubClassifier(), recipe=train_recipe(epochs=1))
    assert result.steps == 13
    assert not run.trackers.exists()
