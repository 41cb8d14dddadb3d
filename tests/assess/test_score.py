"""metrics.json is computed from the saved predictions alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from submillion.assess.score import assess_run, score_split
from submillion.errors import SubmillionError
from submillion.rundir import RunDir
from support.intervals import limits
from support.run import NEWS, made_predictions, made_run, save_split


def test_each_split_is_scored_and_named(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    metrics = assess_run(run)
    assert list(metrics) == ["validation", "test"]
    assert metrics == json.loads(run.metrics.read_text(encoding="utf-8"))
    for split, scores in metrics.items():
        assert scores["split"] == scores["confidence"]["split"] == split
        assert scores["rows"] == sum(map(sum, scores["confusion"])) == 760
        low, high = limits(scores["accuracy_interval"])
        assert low < scores["accuracy"] == scores["accuracy_interval"]["value"] < high
        assert list(scores["per_class"]) == list(NEWS)
        assert list(scores["confidence"]["above"]) == ["0.9"]


def test_the_file_is_equal_when_computed_again(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    assess_run(run, [0.99])
    first = run.metrics.read_bytes()
    run.metrics.unlink()
    assess_run(RunDir.open(run.path), [0.99])
    assert run.metrics.read_bytes() == first


def test_only_predictions_are_read(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    save_split(run, "test", *made_predictions((5, 5), 3.0), ["a", "b"])
    assert assess_run(run)["test"]["rows"] == 10


def test_one_changed_label_changes_the_metrics(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    labels, probabilities = made_predictions((5, 5), 6.0)
    labels = probabilities.argmax(axis=1)
    save_split(run, "test", labels, probabilities, ["a", "b"])
    assert assess_run(run)["test"]["accuracy"] == 1.0
    labels[3] = 1 - labels[3]
    save_split(run, "test", labels, probabilities, ["a", "b"])
    assert assess_run(run)["test"]["accuracy"] == 0.9


def test_unlabelled_rows_have_confidence_and_no_scores(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    save_split(run, "new", None, made_predictions((5, 5), 3.0)[1], ["a", "b"])
    assert set(assess_run(run)["new"]) == {"split", "rows", "confidence"}


def test_a_predicted_class_that_is_not_the_most_probable_one_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    run = RunDir.create(tmp_path / "run")
    save_split(run, "test", *made_predictions((5, 5), 3.0), ["a", "b"])
    table = pq.read_table(run.prediction_file("test"))
    flipped = table["predicted"].to_numpy().copy()
    flipped[2] = 1 - flipped[2]
    pq.write_table(
        table.set_column(3, "predicted", pa.array(flipped, pa.int32())), run.prediction_file("test")
    )
    with pytest.raises(SubmillionError, match=r"test.parquet.*found 1 rows where it is not"):
        score_split(run, "test")


def test_an_empty_predictions_file_is_refused_with_its_name(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    save_split(run, "test", [], np.zeros((0, 2), np.float32), ["a", "b"])
    with pytest.raises(SubmillionError, match=r"test.parquet.*at least one row"):
        assess_run(run)
