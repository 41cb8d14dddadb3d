"""Tests of the study of trainings in int8: its cells, which are computed once, and its table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks import int8_training
from benchmarks.cells import read_cells
from support.int8 import simulate
from support.tiny import shared_encoder
from support.trained import two_classes


def test_the_study_trains_each_cell_once_and_compares_within_a_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(monkeypatch)
    monkeypatch.setattr(int8_training, "FILE", tmp_path / "cells.csv")
    data = tmp_path / "texts.csv"
    with data.open("w", newline="", encoding="utf-8") as target:
        csv.writer(target).writerows([("text", "label"), *zip(*two_classes(), strict=True)])
    encoder = shared_encoder("bert", layers=3)
    words = ["prefix", "--data", str(data), "--encoder", str(encoder), "--layers", "top-1", "--epochs", "1"]
    arguments = [*words, "--seeds", "2", "--set", "lora.r=2", "train.batch_size=8", "data.max_length=24"]
    int8_training.main(arguments)
    cells = read_cells(int8_training.FILE)
    assert [(cell["seed"], cell["precision"]) for cell in cells] == [
        (seed, precision) for seed in "01" for precision in ("float", "int8")
    ]
    assert {cell["held_out"] for cell in cells} == {"6"}
    assert all(float(cell["prefix_s"]) >= float(cell["calibration_s"]) for cell in cells)
    monkeypatch.setattr(int8_training, "train", lambda *_: pytest.fail("a known cell is computed again"))
    int8_training.main(arguments)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("| prefix, texts, ") and "(2) |" in last


def test_the_table_has_paired_differences_in_points_and_median_seconds() -> None:
    common = {
        "part": "frozen",
        "data": "d",
        "encoder": "e",
        "layers": "top-3",
        "rows": "9",
        "epochs": "2",
        "fields": "",
    }
    cells = [
        common
        | {"seed": seed, "precision": precision, "accuracy": accuracy, "macro_f1": "0.5"}
        | {"prefix_s": seconds, "training_s": f"{float(seconds) * 10}"}
        for seed, precision, accuracy, seconds in (
            ("0", "float", "0.900", "8.0"),
            ("0", "int8", "0.902", "2.0"),
            ("1", "float", "0.910", "6.0"),
            ("1", "int8", "0.910", "4.0"),
            ("2", "float", "0.950", "9.0"),  # without its pair
        )
    ]
    *_, last = int8_training.table(cells)
    # Student's t with one degree of freedom: 12.706 x 0.1.
    assert last == (
        "| frozen, d, e, top-3, 9, 2 | 90.50 | +0.10 ± 1.27 (2) | 50.00 | +0.00 ± 0.00 (2) | 7.0 s | 3.0 s | 70.0 s "
        "| 30.0 s |"
    )
