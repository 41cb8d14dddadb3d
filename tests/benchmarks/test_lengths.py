"""Tests of the study of text lengths: its cells, and the differences in its table."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from benchmarks import lengths
from benchmarks.accuracy.sets import LabelledSet, Rows
from benchmarks.cells import read_cells
from support.tiny import shared_encoder, tiny_texts


def test_every_length_and_kind_of_mean_is_a_cell_and_is_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows(*tiny_texts(60))
    classes = tuple(f"class {number}" for number in range(max(rows.labels) + 1))
    monkeypatch.setattr(lengths, "load", lambda *_: LabelledSet("r8", classes, rows, rows))
    monkeypatch.setattr(lengths, "FILE", tmp_path / "lengths.csv")
    options = argparse.Namespace(
        agnews=None, dev_rows=20, seeds=2, per_class=[2, 40], encoder=str(shared_encoder("bert", layers=2)),
        lengths=[4, 10],
    )  # fmt: skip
    for _ in range(2):
        lengths.measure("r8", options)
        cells = read_cells(tmp_path / "lengths.csv")
        assert len(cells) == 16
    assert {cell["rows"] for cell in cells} == {"20"}
    assert {cell["setting"] for cell in cells} == {lengths.PLAIN, lengths.NORMALIZED}
    assert len({cell["accuracy"] for cell in cells}) > 1


def test_scaled_features_have_length_1() -> None:
    features = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(lengths.scaled(features), axis=1), 1, rtol=1e-6)


def test_the_table_has_differences_within_a_seed() -> None:
    def cell(tokens: int, setting: str, seed: int, accuracy: float) -> dict[str, str]:
        return {"set": "r8", "encoder": "minilm", "size": "8", "max_tokens": str(tokens), "setting": setting,
                "seed": str(seed), "accuracy": str(accuracy)}  # fmt: skip

    cells = [
        cell(128, lengths.PLAIN, 0, 0.5), cell(128, lengths.PLAIN, 1, 0.7), cell(128, lengths.NORMALIZED, 0, 0.6),
        cell(64, lengths.NORMALIZED, 0, 0.55),
    ]  # fmt: skip
    assert list(lengths.table(cells))[2] == "| R8, 8, minilm | 60.0 | +10.0 (1) | -5.0 (1) |"
