"""Tests of what a study says if its cells were not scored on the same rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion.rundir import RunDir
from submillion.study import same_rows
from submillion.study.findings import compute_findings
from submillion.study.sentences import sentences
from support.study import made_design, made_runs


def test_rows_are_compared_within_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {(cell, seed): RunDir(f"{cell}-{seed}") for cell in ("base", "other") for seed in (1, 2)}
    found = {"base-1": "a", "other-1": "a", "base-2": "b", "other-2": "b"}
    monkeypatch.setattr(same_rows, "fingerprint", lambda run, split: found.get(run.path.name))
    assert not same_rows.rows_differ(runs, "validation")
    found["other-2"] = "c"
    assert same_rows.rows_differ(runs, "validation")


def test_the_findings_begin_with_rows_that_differ(tmp_path: Path) -> None:
    design = made_design(tmp_path, {"data.limit": [100]}, seeds=[1])
    runs = made_runs(tmp_path, design, {"base": [0.8], "data.limit=100": [0.7]})
    found = compute_findings(design, runs)
    assert "different" not in sentences(found)[0]
    assert sentences(found | {"rows_differ": ["validation", "test"]})[0].startswith(
        "The cells have different validation and test rows, because the study varies the data"
    )
