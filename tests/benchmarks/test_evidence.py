"""Tests of the table of evidence: only trainings that were scored on the same held-out rows are compared."""

from __future__ import annotations

from benchmarks.evidence import AUTO, table


def cell(setting: str, rows: int, accuracy: float) -> dict[str, str]:
    place = {"set": "sms", "encoder": "minilm", "labels_per_class": "8", "seed": "0", "rows": str(rows)}
    figures = {"accuracy": str(accuracy), "macro_f1": str(accuracy), "seconds": "10", "processor": "a"}
    return place | figures | {"setting": setting}


def test_a_pair_has_the_same_held_out_rows() -> None:
    cells = [cell(AUTO, 600, 0.90), cell("all layers", 600, 0.92), cell("all layers", 2_000, 0.5)]
    assert list(table(cells))[2:] == [
        "| SMS spam, 8, minilm | auto | 90.0 (1) | 90.0 | 10 |",
        "| SMS spam, 8, minilm | all layers | +2.0 (1) | +2.0 (1) | 1.00 times |",
    ]
