"""Tests of the evidence in the package: its rows are those of benchmarks.evidence."""

from __future__ import annotations

import pytest

from benchmarks import evidence
from benchmarks.accuracy.sets import SETS, LabelledSet, Rows
from benchmarks.cells import read_cells
from support.tiny import shared_encoder, tiny_texts


def test_every_row_is_a_cell_of_the_benchmark_and_none_occurs_twice() -> None:
    rows = read_cells(evidence.FILE)
    assert rows
    assert tuple(rows[0]) == evidence.COLUMNS
    cells = [tuple(row[name] for name in (*evidence.COLUMNS[:4], "seed", "rows")) for row in rows]
    assert len(set(cells)) == len(cells)
    for row in rows:
        assert row["set"] in SETS
        assert row["setting"] in evidence.SETTINGS
        assert 0 <= float(row["accuracy"]) <= 1


@pytest.fixture
def tiny() -> tuple[LabelledSet, list[str]]:
    """A data set of tiny texts, and the overrides of its trainings."""
    texts, labels = tiny_texts(16)
    classes = [f"class {number}" for number in range(max(labels) + 1)]
    rows = Rows(texts, labels)
    return LabelledSet("r8", classes, rows, rows), [
        f"encoder.source={shared_encoder('bert')}",
        "data.folds=2",
    ]


def test_a_setting_changes_what_auto_decides(tiny: tuple[LabelledSet, list[str]]) -> None:
    data, base = tiny
    assert evidence.changes("first token", data, data.train, base) == ["head.pooling=first"]
    once = evidence.changes("four times the steps", data, data.train, [*base, "train.steps=3"])
    assert once == ["train.steps=12"]


def test_a_training_is_scored_on_other_rows(tiny: tuple[LabelledSet, list[str]]) -> None:
    data, base = tiny
    found = evidence.score(data, data.train, data.test, [*base, "train.steps=1"])
    assert found.keys() == {"accuracy", "macro_f1", "seconds"}
    assert 0 <= float(str(found["accuracy"])) <= 1


def test_differences_are_taken_within_a_seed() -> None:
    def row(
        setting: str, seed: str, accuracy: str, seconds: str, processor: str = "one", held_out: str = "600"
    ) -> dict[str, str]:
        return {
            "set": "r8", "encoder": "minilm", "labels_per_class": "8", "setting": setting, "seed": seed,
            "accuracy": accuracy, "macro_f1": accuracy, "rows": held_out, "seconds": seconds, "processor": processor,
        }  # fmt: skip

    rows = [row("auto", "0", "0.8", "10"), row("auto", "1", "0.6", "20"), row("random head", "1", "0.5", "5")]
    lines = list(evidence.table(rows))
    assert lines[2] == "| R8, 8, minilm | auto | 70.0 (2) | 70.0 | 15 |"
    assert lines[3] == "| R8, 8, minilm | random head | -10.0 (1) | -10.0 (1) | 0.25 times |"
    elsewhere = row("random head", "1", "0.5", "5", processor="another")
    lines = list(evidence.table([*rows[:2], elsewhere]))
    assert lines[3] == "| R8, 8, minilm | random head | -10.0 (1) | -10.0 (1) |  |"
    continued = row("random head", "1", "0.5", "")
    assert list(evidence.table([*rows[:2], continued]))[3] == lines[3]
    on_other_rows = row("random head", "1", "0.5", "5", held_out="2000")
    assert len(list(evidence.table([*rows[:2], on_other_rows]))) == 3
