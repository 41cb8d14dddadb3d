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
    run.write_json(run.metrics, {"accuracy": 0.9})

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SubmillionError, match=r"No space left on device.*is\s+unchanged"):
        run.write_json(run.metrics, {"accuracy": 0.1})
    assert run.read_json(run.metrics) == {"accuracy": 0.9}
    assert [file.name for file in run.path.iterdir()] == ["metrics.json"]


def test_create_refuses_a_taken_place_and_never_deletes_foreign_files(tmp_path: Path) -> None:
    place = tmp_path / "run"
    run = RunDir.create(place)
    run.write_json(run.manifest, {"format": 2, "status": "complete"})
    with pytest.raises(BadInput, match="replace it with `overwrite`"):
        RunDir.create(place)
    RunDir.create(place, overwrite=True)
    assert list(place.iterdir()) == []
    (place / "thesis.docx").write_text("years of work")
    with pytest.raises(BadInput, match=r"no run wrote: thesis\.docx"):
        RunDir.create(place, overwrite=True)
    assert (place / "thesis.docx").exists()


def test_open_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such directory"):
        RunDir.open(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"without manifest\.json"):
        RunDir.open(tmp_path)


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
    for step in range(4):
        run.append_history({"step": step})
    run.truncate_history(2)
    run.append_history({"step": 9})
    assert [record["step"] for record in run.read_history()] == [0, 1, 9]
    with run.history.open("a") as file:
        file.write('{"step": 1')  # a crash in the middle of a line
    assert [record["step"] for record in run.read_history()] == [0, 1, 9]
