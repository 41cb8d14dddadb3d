"""Tests of a repeated training: what is not covered, and the bounds on another machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import submillion
from submillion import native
from submillion.errors import BadInput
from submillion.model.precision import choose_precision
from submillion.recipe import Recipe
from submillion.run_inputs import CONTINUED_ELSEWHERE
from submillion.rundir import RunDir
from submillion.verification.run import checks, retrained
from submillion.verification.run.checks import verify
from submillion.verification.run.records import missing_notices
from submillion.verification.run.retraining import differing_arithmetic, no_int8, not_repeatable
from submillion.verification.verdict import Check
from support.forgeries import FORGERIES
from support.tampering import change_json
from support.tiny import tiny_encoder
from support.trained import recipe_in, two_classes

DONE: dict[str, Any] = {"status": "complete", "training": {"processes": 1}}


@pytest.mark.parametrize(
    ("manifest", "override", "reason"),
    [
        (DONE, "train.epochs=2", None),
        (DONE | {"status": "interrupted"}, "train.epochs=2", "finish it with `resume`"),
        (DONE, "train.max_seconds=60", "by the clock"),
        (DONE | {"training": {"processes": 2}}, "train.epochs=2", "2 processes"),
    ],
)
def test_a_training_that_cannot_be_repeated_is_named(
    manifest: dict[str, Any], override: str, reason: str | None
) -> None:
    found = not_repeatable(manifest, Recipe.load("r8", [override]))
    assert found is None if reason is None else reason in str(found)


def test_processor_versions_and_execution_decide_whether_the_arithmetic_is_the_same() -> None:
    recorded = {"machine": {"processor": "A", "threads": 2, "cores": 8}, "versions": {"torch": "2"}}
    assert differing_arithmetic(recorded, recorded) == []
    here = {"machine": {"processor": "B", "threads": 2, "cores": 4}, "versions": {"torch": "3"}}
    assert differing_arithmetic(recorded, here) == ["machine.processor A, here B", "versions.torch 2, here 3"]
    resumed = {"code": CONTINUED_ELSEWHERE, "text": "...", "differing": "machine.threads 2, now 8"}
    found = differing_arithmetic(recorded | {"notices": [resumed]}, recorded)
    assert found == ["when resumed: machine.threads 2, now 8"]


def test_a_time_in_a_notice_is_not_compared() -> None:
    def compiled(took: int) -> dict[str, Any]:
        return {"code": "execution", "text": f"execution: compiled; compiling took {took} s", "seconds": took}

    run = SimpleNamespace(training_rows=Path("none"), relative=lambda value: value)
    case: Any = SimpleNamespace(run=run, manifest={"submillion": submillion.__version__})
    assert missing_notices(case, [compiled(9)], [compiled(10)]) == []
    assert missing_notices(case, [compiled(9)], []) == ["'execution: compiled; compiling took 9 s'"]
    other = {"code": "execution", "text": "execution: packed"}
    assert missing_notices(case, [other], [compiled(10)]) == ["'execution: packed'"]


@pytest.fixture
def elsewhere(run: RunDir, monkeypatch: pytest.MonkeyPatch, trained_once: None) -> RunDir:
    """Return the run as if another machine had trained it, verified by training alone."""
    entries = [entry for entry in checks.CHECKS if entry[2] is retrained.retraining]
    monkeypatch.setattr(checks, "CHECKS", entries)
    change_json(run.manifest, lambda manifest: manifest["machine"].update(processor="Another Processor"))
    return run


def found_in(run: RunDir) -> dict[str, Check]:
    return {check.where: check for check in verify(run.path, retrain=True).checks}


def test_bounds_apply_on_another_machine_and_what_differs_is_said(elsewhere: RunDir) -> None:
    found = found_in(elsewhere)
    said = found["manifest.json: machine, versions"]
    assert said.holds is None and "machine.processor Another Processor" in said.found
    assert found["history.jsonl"].holds


def test_losses_beyond_the_bounds_are_found_on_another_machine(elsewhere: RunDir) -> None:
    FORGERIES["lower losses"].apply(elsewhere)
    assert found_in(elsewhere)["history.jsonl"].holds is False


def test_an_adapter_trained_on_the_test_rows_is_found_on_another_machine(elsewhere: RunDir) -> None:
    FORGERIES["adapter trained on test rows"].apply(elsewhere)
    check = found_in(elsewhere)["adapter/adapter_model.safetensors"]
    assert check.holds is False and "allowed 5.0%" in check.found


def able_to_step_in_int8() -> bool:
    library, _ = native.load_best_build(choose_precision("auto").dtype_name)
    return library is not None and library.has_int8


@pytest.mark.skipif(not able_to_step_in_int8(), reason="no kernels here train in int8")
def test_steps_in_int8_are_recorded_and_repeated_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, labels = two_classes()
    recipe = recipe_in(
        tmp_path,
        **{"encoder.source": tiny_encoder(tmp_path / "encoder", layers=2, hidden=64, heads=2)},
        **{"train.frozen_precision": "int8"},
    )
    run = RunDir.open(submillion.train(recipe, tmp_path / "run", texts=texts, labels=labels, quiet=True).path)
    assert run.read_manifest()["training"]["frozen_precision"] == "int8"
    for page in (run.card, run.report):
        assert "packed-" in page.read_text(encoding="utf-8") and "; training steps in int8" in page.read_text(
            "utf-8"
        )
    verdict = verify(run.path, retrain=True)
    assert verdict.holds, verdict.render()
    assert "equal bit for bit" in verdict.render()
    change_json(run.manifest, lambda manifest: manifest["training"].update(frozen_precision="float"))
    assert "history" in {check.name for check in verify(run.path).failing}
    monkeypatch.setattr(native.Library, "has_int8", False)
    assert "its training steps were in int8, which cannot run here" in str(no_int8(recipe))


def test_a_run_that_another_process_is_writing_is_refused(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunDir, "is_locked", lambda self: True)
    with pytest.raises(BadInput, match="another process is working on"):
        verify(run.path)
