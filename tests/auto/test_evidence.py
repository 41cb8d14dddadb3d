"""Tests of the evidence in the package: its rows are those of benchmarks.evidence."""

from __future__ import annotations

from benchmarks import evidence
from benchmarks.cells import read_cells


def test_every_row_is_a_cell_of_the_benchmark_and_none_occurs_twice() -> None:
    rows = read_cells(evidence.FILE)
    assert rows
    assert tuple(rows[0]) == evidence.COLUMNS
    cells = [tuple(row[name] for name in (*evidence.COLUMNS[:4], "seed")) for row in rows]
    assert len(set(cells)) == len(cells)
    for row in rows:
        assert row["setting"] in evidence.SETTINGS
        assert 0 <= float(row["accuracy"]) <= 1


def test_samples_have_the_rows_of_each_class_and_follow_the_seed() -> None:
    pool = [(f"text {number}", "ab"[number % 2]) for number in range(50)]
    sample = list(evidence.drawn(pool, 4, seed=1))
    assert sorted(label for _, label in sample) == list("aaaabbbb")
    assert sample == list(evidence.drawn(pool, 4, seed=1)) != list(evidence.drawn(pool, 4, seed=2))


def test_differences_are_taken_within_a_seed() -> None:
    def row(setting: str, seed: str, accuracy: str) -> dict[str, str]:
        return {
            "encoder": "e", "labels_per_class": "8", "setting": setting, "seed": seed, "accuracy": accuracy
        }  # fmt: skip

    rows = [row("auto", "0", "0.8"), row("auto", "1", "0.6"), row("random head", "1", "0.5")]
    lines = list(evidence.summary(rows))
    assert "70.00" in lines[0]
    assert lines[1].endswith("-10.00 of 1 seeds")
