"""The run directory: nothing is lost when a write fails, and nothing foreign is deleted."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from submillion.errors import BadInput, SubmillionError
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir.create(tmp_path / "run")
    file = run.analysis_file("mine")
    run.analysis.mkdir()
    run.write_json(file, {"accuracy": 0.9})

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SubmillionError, match=r"No space left on device.*is\s+unchanged"):
        run.write_json(file, {"accuracy": 0.1})
    assert run.read_json(file) == {"accuracy": 0.9}
    assert [entry.name for entry in run.analysis.iterdir()] == ["mine.json"]


def test_create_refuses_a_taken_place(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    run.write_json(run.manifest, {"format": 2, "status": "complete"})
    with pytest.raises(BadInput, match="replace this run with `overwrite`"):
        RunDir.create(run.path)


def test_begin_and_end_say_what_is_unfinished(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    run.write_json(run.manifest, {"format": 2, "status": "complete"})
    run.begin("evaluate", split="later")
    assert run.read_manifest()["unfinished"] == {"task": "evaluate", "split": "later"}
    run.end(test_held_back=False)
    assert run.read_manifest() == {"format": 2, "status": "complete", "test_held_back": False}


def test_a_run_whose_training_has_not_ended_is_neither_scored_nor_reported(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    run.write_json(run.manifest, {"format": 2, "status": "running"})
    with pytest.raises(BadInput, match="Finish it with `resume`"):
        run.check_trained()


def test_open_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such directory"):
        RunDir.open(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"without manifest\.json"):
        RunDir.open(tmp_path)
    (tmp_path / "export.json").touch()
    with pytest.raises(BadInput, match="found an export. Name the run that it was made from"):
        RunDir.open(tmp_path)
    with pytest.raises(BadInput, match="found a file. Name the directory"):
        RunDir.open(tmp_path / "export.json")


def test_predictions_survive_the_file(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)
    run.save_predictions(
        "test", Predictions.of(["7", "8"], ["aa", "bb"], [1, 0], probabilities, ["Sci/Tech", "p_odd"])
    )
    saved = run.load_predictions("test")
    assert saved.ids == ["7", "8"]
    assert saved.label_names == ["Sci/Tech", "p_odd"]
    assert saved.labels.tolist() == [1, 0]
    assert saved.predicted.tolist() == [1, 0]
    assert np.array_equal(saved.probabilities, probabilities)
    run.save_predictions("new", Predictions.of(["7"], ["aa"], None, probabilities[:1], ["a", "b"]))
    assert run.load_predictions("new").labels is None
    assert run.prediction_splits() == ["test", "new"]


def test_history_can_be_cut_back(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    assert run.read_history() == []
    record = {"kind": "train", "epoch": 0.5, "loss": 1.0, "learning_rate": 1e-3}
    for step in range(4):
        run.append_history(record | {"step": step})
    run.truncate_history(2)
    run.append_history(record | {"step": 9})
    assert [record["step"] for record in run.read_history()] == [0, 1, 9]
    with run.history.open("a") as file:
        file.write('{"step": 1')  # a crash in the middle of a line
    assert [record["step"] for record in run.read_history()] == [0, 1, 9]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "manifest.json",
            '{"format": 2, "budget": -1}',
            "manifest.json: budget: expected a valid dictionary, found -1",
        ),
        ("manifest.json", '{"format": 2, "labels": ["a", 1]}', "labels.1: expected a valid string, found 1"),
        ("manifest.json", '{"format": 2, "format": 1}', "every key once, found 'format' twice"),
        ("manifest.json", "[]", "expected a valid dictionary, found a list of 0"),
        ("manifest.json", "[" * 100_000, "at most 64 levels"),
        (
            "metrics.json",
            '{"test": {"split": "test", "rows": true}}',
            "test.rows: expected a valid integer, found True",
        ),
        ("metrics.json", '{"test": {"rows": 1e999}}', "64-bit floats"),
        (
            "metrics.json",
            '{"test": {"split": "test", "rows": 1, "correct": 1, "confidence": {"split": "test", "rows": 1, "mean": 1,'
            '"median": 1, "min": 1, "max": 1, "above": {}}}}',
            "test: expected all scores of labelled rows or none, and accuracy is missing",
        ),
        (
            "analysis/intervals.json",
            '{"resamples": 1, "splits": {"test": []}}',
            "splits.test: expected a valid dictionary",
        ),
        (
            "history.jsonl",
            '{"kind": "eval", "step": 1}\n',
            "history.jsonl, line 1: eval.epoch: expected a value, found none",
        ),
        ("history.jsonl", '{"kind": "odd"}\n', "history.jsonl, line 1: expected an object with 'kind'"),
        ("history.jsonl", "[NaN]\n", "history.jsonl, line 1: expected finite numbers, found NaN"),
    ],
)
def test_a_value_of_another_type_is_named_by_file_and_key(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    run = RunDir.create(tmp_path / "run")
    file = run.path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput) as error:
        if name == "manifest.json":
            run.read_manifest()
        elif name == "metrics.json":
            run.read_metrics()
        elif name == "history.jsonl":
            run.read_history()
        else:
            run.read_analysis("intervals")
    assert message in str(error.value)
    assert len(error.value.problems) <= 11
    again = f"make it again: `submillion report {run.path} --with intervals`."
    assert (again in str(error.value)) == name.startswith("analysis/")


def test_further_keys_are_accepted(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    run.write_json(run.manifest, {"format": 2, "from_a_later_version": [1, {"a": None}]})
    assert run.read_manifest()["format"] == 2


def test_a_damaged_file_is_restored_and_a_missing_one_finished(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.manifest.write_text('{"format": 2, "status": "complete", "machine": null}')
    with pytest.raises(BadInput, match=r"machine: .*Restore it from a copy of the run, or train again\."):
        run.read_manifest()
    with pytest.raises(BadInput, match="Finish the run with `resume`"):
        run.read_json(run.metrics)
