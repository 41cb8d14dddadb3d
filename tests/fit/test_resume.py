"""Tests that a training stopped anywhere and resumed has the adapter and history of an uninterrupted one."""

from __future__ import annotations

import errno
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from submillion import notices
from submillion.errors import BadInput, SubmillionError
from submillion.fit import checkpoint, loop
from submillion.fit.interrupt import Interrupt
from submillion.rundir import RunDir
from support.fit_stub import (
    Disturbed,
    fit_stub,
    press_ctrl_c,
    same_tensors,
    train_recipe,
    without_timings,
)

# 13 steps an epoch, a line of history every 3 steps, early stopping two evaluations after the best one.
RECIPE = train_recipe(epochs=20, learning_rate=0.2, patience=2)


class Crash(Exception):
    """Simulates a power failure: nothing is saved afterwards."""


def crash() -> None:
    raise Crash


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    return fit_stub(tmp_path_factory.mktemp("undisturbed"), recipe=RECIPE)


def assert_same(undisturbed: tuple, resumed: tuple) -> None:
    """Compare adapter, history and result, except for times."""
    (one, result, run), (other, same, other_run) = undisturbed, resumed
    assert same_tensors(one, other)
    assert without_timings(other_run.read_history()) == without_timings(run.read_history())
    clocks = {"wall_seconds", "train_seconds", "samples_per_second", "tokens_per_second", "peak_memory_mb"}
    facts = [{k: v for k, v in r.to_json().items() if k not in clocks} for r in (result, same)]
    assert facts[0] == facts[1]
    assert np.array_equal(result.best_logits, same.best_logits)


def test_undisturbed_run_stops_early(undisturbed: tuple) -> None:
    _, result, run = undisturbed
    assert result.stopped_early and result.steps == 65
    # Resuming between the fourth and the fifth evaluation shows whether patience is restored.
    evaluations = [record for record in run.read_history() if record["kind"] == "eval"]
    assert [record["best"] for record in evaluations] == [True, True, True, False, False]


# Passes 1 to 13 are the first epoch, 14 is its evaluation: 14 stops during an evaluation, 13 and 27 just before one.
@pytest.mark.parametrize("passes", [1, 2, 5, 13, 14, 15, 27, 28, 34, 59])
def test_ctrl_c_and_resume(tmp_path: Path, undisturbed: tuple, passes: int) -> None:
    _, result, run = fit_stub(tmp_path, Disturbed(passes, press_ctrl_c), recipe=RECIPE)
    assert result.interrupted and not result.stopped_early
    evaluations = passes // 14
    assert result.steps == passes - evaluations
    assert len([r for r in run.read_history() if r["kind"] == "eval"]) == (passes - 1) // 14
    assert_same(undisturbed, fit_stub(tmp_path, recipe=RECIPE, resume=True))


def test_ctrl_c_every_few_steps(tmp_path: Path, undisturbed: tuple) -> None:
    resumed = fit_stub(tmp_path, Disturbed(4, press_ctrl_c), recipe=RECIPE)
    pauses = 0
    while resumed[1].interrupted:
        pauses += 1
        resumed = fit_stub(tmp_path, Disturbed(4, press_ctrl_c), recipe=RECIPE, resume=True)
    assert pauses > 10
    assert_same(undisturbed, resumed)


def test_ctrl_c_leaves_the_best_adapter_so_far(tmp_path: Path) -> None:
    classifier, result, run = fit_stub(tmp_path, Disturbed(20, press_ctrl_c), recipe=RECIPE)
    assert (result.interrupted, result.best_step, result.steps) == (True, 13, 19)
    best = load_file(checkpoint.best(run) / "adapter_model.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in classifier.tensors().items())


@pytest.mark.parametrize("passes", [15, 20, 27, 30])
def test_after_a_crash_training_resumes_from_the_last_evaluation(
    tmp_path: Path, undisturbed: tuple, passes: int
) -> None:
    with pytest.raises(Crash):
        fit_stub(tmp_path, Disturbed(passes, crash), recipe=RECIPE)
    assert_same(undisturbed, fit_stub(tmp_path, recipe=RECIPE, resume=True))


def test_long_epochs_are_saved_in_between(
    tmp_path: Path, undisturbed: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    with pytest.raises(Crash):
        fit_stub(tmp_path, Disturbed(6, crash), recipe=RECIPE)
    saved = checkpoint.load(RunDir(tmp_path), {})
    assert saved is not None and saved[1]["step"] == 5
    assert_same(undisturbed, fit_stub(tmp_path, recipe=RECIPE, resume=True))


def test_after_a_crash_before_the_first_save_training_starts_over(tmp_path: Path, undisturbed: tuple) -> None:
    with pytest.raises(Crash):
        fit_stub(tmp_path, Disturbed(5, crash), recipe=RECIPE)
    assert len(RunDir(tmp_path).read_history()) == 1
    assert_same(undisturbed, fit_stub(tmp_path, recipe=RECIPE, resume=True))


def test_second_ctrl_c_aborts_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def press_twice() -> None:
        press_ctrl_c()
        press_ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        fit_stub(tmp_path, Disturbed(3, press_twice), recipe=RECIPE)
    assert (
        "Ctrl-C: finishing this step and saving; a second signal aborts at once." in capsys.readouterr().err
    )
    assert not checkpoint.latest(RunDir(tmp_path)).exists()


def test_sigterm_requests_a_stop_too_and_handlers_are_restored(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.stop_requested
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seed": 8}, "expected seed 7, as when the run was started, found 8"),
        (
            {"recipe": RECIPE.model_copy(update={"batch_size": 4})},
            r"expected train\.batch_size 8, as when the run was started, found 4",
        ),
        ({"train_rows": 99}, "expected the same texts and labels as when the run was started, found others"),
    ],
)
def test_another_training_is_not_resumed(tmp_path: Path, options: dict, text: str) -> None:
    fit_stub(tmp_path, Disturbed(5, press_ctrl_c), recipe=RECIPE)
    before = RunDir(tmp_path).read_history()
    with pytest.raises(BadInput, match=text):
        fit_stub(tmp_path, resume=True, **{"recipe": RECIPE} | options)
    assert RunDir(tmp_path).read_history() == before


def test_training_resumes_with_another_number_of_threads(tmp_path: Path) -> None:
    fit_stub(tmp_path, Disturbed(5, press_ctrl_c), recipe=RECIPE)
    recipe = RECIPE.model_copy(update={"threads": torch.get_num_threads()})
    assert fit_stub(tmp_path, recipe=recipe, resume=True)[1].stopped_early


@pytest.mark.parametrize(("ratio", "resumes"), [(1.0, True), (2.0, False)])
def test_field_missing_in_an_older_state_has_its_default(
    tmp_path: Path, undisturbed: tuple, ratio: float, resumes: bool
) -> None:
    _, _, run = fit_stub(tmp_path, Disturbed(5, press_ctrl_c), recipe=RECIPE)
    saved = checkpoint.load(run, {})
    assert saved is not None
    tensors, position = saved
    del position["identity"]["train.lora_plus_ratio"]
    checkpoint.save(run, tensors, position)
    recipe = RECIPE.model_copy(update={"lora_plus_ratio": ratio})
    if resumes:
        assert_same(undisturbed, fit_stub(tmp_path, recipe=recipe, resume=True))
    else:
        with pytest.raises(
            BadInput, match=r"expected train\.lora_plus_ratio 1\.0, as when the run was started"
        ):
            fit_stub(tmp_path, recipe=recipe, resume=True)


def damage(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run that was killed after two saved states."""
    folder = tmp_path_factory.mktemp("crashed")
    with pytest.raises(Crash):
        fit_stub(folder, Disturbed(30, crash), recipe=RECIPE)
    return RunDir(folder)


def test_any_flipped_bit_of_a_state_is_detected(crashed: RunDir, tmp_path: Path) -> None:
    file = tmp_path / "state.safetensors"
    data = checkpoint.latest(crashed).read_bytes()
    file.write_bytes(data)
    checkpoint.read(file)
    header = 8 + int.from_bytes(data[:8], "little")
    drawn = random.Random(0)
    for bit in [*range(0, 8 * header, 97), *(drawn.randrange(8 * len(data)) for _ in range(100))]:
        file.write_bytes(data)
        damage(file, bit)
        with pytest.raises(
            BadInput, match=r"state\.safetensors: expected the saved state of a training, found a dam"
        ):
            checkpoint.read(file)


@pytest.mark.parametrize("part", ["state", "history", "cut", "gone"])
def test_a_damaged_state_is_set_aside_and_the_one_before_is_used(
    crashed: RunDir, undisturbed: tuple, tmp_path: Path, part: str
) -> None:
    run = RunDir(shutil.copytree(crashed.path, tmp_path / "run"))
    file = checkpoint.latest(run)
    if part == "state":
        damage(file, 8 * file.stat().st_size - 9)
    elif part == "history":  # a line that was logged after the state before
        records = checkpoint.read(file)[1]["records"]
        lines = run.history_lines()
        run.write_text(
            run.history, "\n".join([*lines[: records - 1], lines[records - 1].replace(":", ": "), ""])
        )
    elif part == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:  # killed between the two renames
        file.unlink()
    assert_same(undisturbed, fit_stub(run.path, recipe=RECIPE, resume=True))
    codes = [notice["code"] for notice in notices.collected()]
    assert codes.count("checkpoint_damaged") == (part != "gone")
    assert (run.checkpoint / "damaged" / file.name).exists() == (part != "gone")


def test_two_damaged_states_are_named(crashed: RunDir, tmp_path: Path) -> None:
    run = RunDir(shutil.copytree(crashed.path, tmp_path / "run"))
    for file in (checkpoint.latest(run), checkpoint.previous(run)):
        damage(file, 4_000)
    with pytest.raises(
        BadInput, match=r"(?s)latest.*a damaged file.*previous.*a damaged file.*Train the run again"
    ):
        fit_stub(run.path, recipe=RECIPE, resume=True)


def test_a_damaged_best_adapter_is_written_again(crashed: RunDir, undisturbed: tuple, tmp_path: Path) -> None:
    run = RunDir(shutil.copytree(crashed.path, tmp_path / "run"))
    best = checkpoint.best(run) / "adapter_model.safetensors"
    damage(best, 8 * best.stat().st_size - 9)
    assert_same(undisturbed, fit_stub(run.path, recipe=RECIPE, resume=True))
    expected = checkpoint.best(undisturbed[2]) / "adapter_model.safetensors"
    assert best.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("identity", 1e308),
        ("identity", None),
        ("step", True),
        ("step", "7"),
        ("records", -1),
        ("history_sha256", 7),
        ("stopping", []),
        ("window", {"losses": ["0.1"]}),
        ("totals", {"texts": 1.5}),
    ],
)
def test_a_position_of_other_types_is_refused(
    crashed: RunDir, tmp_path: Path, key: str, value: object
) -> None:
    tensors, position = checkpoint.read(checkpoint.latest(crashed))
    file = tmp_path / "state.safetensors"
    broken = {name: part for name, part in position.items() if name != key}
    file.write_bytes(checkpoint.sealed(tensors, broken if value is None else {**broken, key: value}))
    with pytest.raises(BadInput, match="the saved state of a training, found a damaged file"):
        checkpoint.read(file)


def test_tensors_of_another_training_are_refused(crashed: RunDir, tmp_path: Path) -> None:
    run = RunDir(shutil.copytree(crashed.path, tmp_path / "run"))
    tensors, position = checkpoint.read(checkpoint.latest(run))
    checkpoint.latest(run).write_bytes(checkpoint.sealed(tensors | {"values": torch.zeros(3)}, position))
    with pytest.raises(BadInput, match="expected the tensors of this training"):
        fit_stub(run.path, recipe=RECIPE, resume=True)


def full_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Make every `Path.write_bytes` after the first `after` ones fail midway."""
    write, count = Path.write_bytes, 0

    def failing(self: Path, data: bytes) -> int:
        nonlocal count
        count += 1
        if count <= after:
            return write(self, data)
        write(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", failing)


# An evaluation that is the best so far writes twice: the best adapter, then the latest state.
@pytest.mark.parametrize(("after", "failed"), [(2, "best"), (3, r"state\.safetensors")])
def test_full_disk_leaves_the_previous_state(
    tmp_path: Path, undisturbed: tuple, after: int, failed: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        full_disk(patch, after)
        text = rf"{failed}: could not be written \(No space left on device\)\. The previous version is unchanged\."
        with pytest.raises(SubmillionError, match=text):
            fit_stub(tmp_path, recipe=RECIPE)
    run = RunDir(tmp_path)
    saved = checkpoint.load(run, {})
    assert saved is not None and saved[1]["step"] == 13
    assert load_file(checkpoint.best(run) / "adapter_model.safetensors").keys() >= {"output.weight"}
    leftovers = [path for path in run.checkpoint.rglob("*") if path.name.startswith(".")]
    assert leftovers == []
    assert_same(undisturbed, fit_stub(tmp_path, recipe=RECIPE, resume=True))
