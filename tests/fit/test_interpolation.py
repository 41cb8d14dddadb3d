"""Tests of interpolation.py: a run with train.wise_ft lies between its probe and the run that keeps every change."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

import submillion
from submillion.errors import BadInput
from submillion.fit.stages import interpolate_with_first_values
from submillion.fit.step import Stepper
from submillion.model.adapter import read_tensors
from submillion.pipeline import resume
from submillion.rundir import RunDir
from support.trained import recipe_in, two_classes

CROSSED = {
    "head.kind": "linear",
    "head.start": "probe",
    "data.validation": "cross-validation",
    "data.folds": 2,
    "train.patience": 0,
}
SHARE = 0.25


def train(home: Path, name: str, steps: int = 4, **fields: Any) -> Path:
    """Train a run of `steps` steps in `home`; return its directory."""
    recipe = recipe_in(home, **CROSSED, **{"train.steps": steps}, **fields)
    texts, labels = two_classes(24)
    submillion.train(recipe, home / name, texts=texts, labels=labels, quiet=True, report=False)
    return home / name


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("interpolated")


@pytest.fixture(scope="module")
def interpolated(home: Path) -> Path:
    return train(home, "interpolated", **{"train.wise_ft": SHARE})


def tensors_of(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / "adapter")[0]


def test_a_share_of_the_change_is_left(home: Path, interpolated: Path) -> None:
    first, last = (tensors_of(train(home, name, steps)) for name, steps in (("probe", 0), ("whole", 4)))
    found = tensors_of(interpolated)
    assert found.keys() == last.keys()
    # The head of this family saves a dense layer too, which is not trained.
    assert any("lora" not in name and not torch.equal(value, last[name]) for name, value in first.items())
    for name, value in found.items():
        if "lora_B" in name:
            assert last[name].any()
            assert torch.equal(value, SHARE * last[name])
        elif "lora_A" in name:
            assert torch.equal(value, last[name])
        else:
            torch.testing.assert_close(value, (1 - SHARE) * first[name] + SHARE * last[name])


def test_the_folds_are_interpolated_too(home: Path, interpolated: Path) -> None:
    whole, part = (
        RunDir(train(home, name, **fields)).load_predictions("validation").probabilities
        for name, fields in (("all", {}), ("part", {"train.wise_ft": SHARE}))
    )
    assert not (whole == part).all()
    saved = RunDir(interpolated).load_predictions("validation").probabilities
    assert (saved == part).all()


@pytest.mark.parametrize("stop_at", [2, 6])
def test_a_resumed_run_has_the_same_bits(
    home: Path, interpolated: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """Steps 1 to 4 are those of the training on all texts, the others those of the folds."""
    steps, step = 0, Stepper.step

    def stopped(self: Stepper, *arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == stop_at:
            signal.raise_signal(signal.SIGINT)
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", stopped)
        run = RunDir(train(home, f"stopped-{stop_at}", **{"train.wise_ft": SHARE}))
    assert run.read_manifest()["status"] == "interrupted"
    resume(run.path, quiet=True)
    expected, found = tensors_of(interpolated), tensors_of(run.path)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    answers = [RunDir(path).load_predictions("validation").probabilities for path in (interpolated, run.path)]
    assert (answers[0] == answers[1]).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lora.variant", "dora"),
        ("head.start", "random"),
        ("head.finish", "probe"),
        ("contrastive.steps", 3),
    ],
)
def test_what_has_no_two_ends_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(BadInput, match=f"train.wise_ft: expected none without {field}="):
        recipe_in(tmp_path, **CROSSED | {field: value, "train.wise_ft": SHARE})


def test_validation_rows_are_refused(tmp_path: Path) -> None:
    fields = {"head.kind": "linear", "head.start": "probe", "train.wise_ft": SHARE}
    with pytest.raises(BadInput, match="expected none without data.validation=cross-validation"):
        recipe_in(tmp_path, **fields)


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match="without head.start=probe, data.validation=cross-validation, found 0.25"
    ):
        recipe_in(tmp_path, **{"train.wise_ft": SHARE})


def test_a_saved_state_without_the_first_values_is_refused(tmp_path: Path) -> None:
    loop = SimpleNamespace(stepper=SimpleNamespace(optimizer=None), state=SimpleNamespace(first_values=None))
    loop.run = RunDir(tmp_path)
    with pytest.raises(BadInput, match="the values before the first step"):
        interpolate_with_first_values(cast(Any, loop), SHARE)
