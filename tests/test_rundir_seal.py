"""The hashes that a run keeps of its own files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from submillion.rundir import RunDir


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir.create(tmp_path / "run")
    run.write_json(run.manifest, {"format": 2, "status": "complete"})
    for name in (
        "recipe.yaml",
        "history.jsonl",
        "metrics.json",
        "adapter/a.bin",
        "adapter/.hidden",
        "adapter/Thumbs.db",
        "tokenizer/deep/t.json",
        "analysis/errors.json",
        "analysis/baselines/tfidf/test.parquet",
        "checkpoint/latest/state.bin",
        "README.md",
    ):
        run.write_text(run.path / name, name)
    return run


def test_what_training_made_and_what_follows_from_it_are_kept_apart(run: RunDir) -> None:
    run.seal()
    manifest = run.read_manifest()
    assert manifest["status"] == "complete"
    names = ["adapter/a.bin", "history.jsonl", "recipe.yaml", "tokenizer/deep/t.json"]
    assert manifest["files"] == {name: sha256(name) for name in names}
    analysis = ["analysis/errors.json", "analysis/baselines/tfidf/test.parquet"]
    assert manifest["analysis_files"] == {name: sha256(name) for name in analysis}


def test_a_later_seal_swears_to_nothing_but_the_places_it_is_given(run: RunDir) -> None:
    run.seal()
    run.write_text(run.adapter / "a.bin", "damaged")
    run.write_text(run.predictions / "new.parquet", "new")
    run.write_text(run.analysis / "audit.json", "audit")
    (run.analysis / "errors.json").unlink()
    run.seal(run.prediction_file("new"), run.analysis)
    manifest = run.read_manifest()
    assert manifest["files"]["adapter/a.bin"] == sha256("adapter/a.bin")
    assert manifest["files"]["predictions/new.parquet"] == sha256("new")
    assert list(manifest["analysis_files"]) == [
        "analysis/audit.json",
        "analysis/baselines/tfidf/test.parquet",
    ]


def test_a_run_without_files_can_be_sealed(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    run.update_manifest()
    run.seal()
    assert run.read_manifest() == {"format": 2, "files": {}, "analysis_files": {}}
