"""Tests of the files of a study: tables, figures, page."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from submillion.study.findings import compute_findings
from submillion.study.outputs import write_outputs
from submillion.study.sentences import sentences
from submillion.study.table import as_text
from support.study import made_design, made_runs


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Any]:
    axes = {"a|b <c>": {"one": {"lora.dropout": 0.1}, "two": {"lora.r": 4}}}
    design = made_design(tmp_path, axes)
    scores = {
        "base": [0.90, 0.91, 0.93],
        "a|b <c>=one": [0.92, 0.94, 0.94],
        "a|b <c>=two": [0.5, 0.6, 0.7],
    }
    return compute_findings(
        design, made_runs(tmp_path, design, {k: list(v) for k, v in scores.items()}, {"base": 5.0})
    )


def test_every_file_contains_every_cell(found: dict[str, Any], tmp_path: Path) -> None:
    write_outputs(found, tmp_path / "out")
    with (tmp_path / "out" / "table.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["cell"] for row in read] == ["base", "a|b <c>=one", "a|b <c>=two"]
    assert float(read[0]["accuracy"]) == pytest.approx(0.91333333)
    assert int(read[2]["trainable"]) == found["cells"][2]["trainable"]
    saved = pq.read_table(tmp_path / "out" / "table.parquet").to_pylist()
    assert [row["cell"] for row in saved] == [row["cell"] for row in read]
    assert saved[0]["trainable lora.query"] == found["cells"][0]["parts"]["lora.query"]
    markdown = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "| a\\|b <c>=one | 3 | 93.33% |" in markdown
    assert all(sentence in markdown for sentence in sentences(found))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "a|b &lt;c&gt;=one" in page and "<c>" not in page
    assert page.count("<svg") == 3
    for name in ("effects", "pareto_trainable", "pareto_wall_seconds"):
        assert (tmp_path / "out" / "figures" / f"{name}.png").is_file()


def test_the_same_study_gives_the_same_files(found: dict[str, Any], tmp_path: Path) -> None:
    for place in ("one", "other"):
        write_outputs(found, tmp_path / place)
    files = sorted(
        file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*") if file.is_file()
    )
    assert len(files) == 11
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes(), file


def test_a_study_without_runs_has_a_table(tmp_path: Path) -> None:
    design = made_design(tmp_path, {"lora.dropout": [0.1]})
    found = compute_findings(design, {})
    write_outputs(found, tmp_path / "out")
    assert "not trained" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert sentences(found)[-1] == "Winner: none yet; no cell has been trained with every seed."
    assert "not trained" in as_text(found)
