"""Tests of the list of runs: order, status, and directories that cannot be read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from submillion.errors import BadInput
from submillion.inspection.runs import list_runs
from submillion.run_format.interval import interval
from support.run import made_manifest


def make_run(path: Path, accuracy: float | None = None, split: str = "test", **facts: Any) -> Path:
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(json.dumps(made_manifest(("a", "b"), **facts)))
    if accuracy is not None:
        scores = {
            "split": split,
            "rows": 100,
            "accuracy": accuracy,
            "accuracy_interval": interval(accuracy, accuracy - 0.1, accuracy + 0.05),
            "macro_f1": 0.5,
        }
        (path / "metrics.json").write_text(json.dumps({split: scores}))
    return path


def test_runs_are_listed_best_first_with_the_split_of_their_score(tmp_path: Path) -> None:
    make_run(tmp_path / "weak", 0.6)
    make_run(tmp_path / "study" / "runs" / "strong", 0.9, "validation", test_held_back=True)
    make_run(tmp_path / "fresh", status="interrupted", name="x")
    found = list_runs(tmp_path)
    assert [(Path(run.path).name, run.accuracy, run.split, run.status) for run in found.runs] == [
        ("strong", 0.9, "validation", "complete"),
        ("weak", 0.6, "test", "complete"),
        ("fresh", None, None, "interrupted"),
    ]
    assert found.unreadable == []
    first, weak = found.render().splitlines()[1:3]
    assert "90.00%  80.00 to 95.00%  validation    888,580  ag_news  2025-01-31  complete" in first
    assert str(tmp_path / "weak") in weak
    assert found.to_json()["runs"][1]["low"] == pytest.approx(0.5)


def test_a_cross_validation_is_listed_with_the_interval_of_its_folds(tmp_path: Path) -> None:
    run = make_run(tmp_path / "crossed", 0.9, "validation")
    folds = {"accuracy": interval(0.9, 0.7, 1.0), "macro_f1": interval(0.89, 0.6, 1.0)}
    (run / "analysis").mkdir()
    (run / "analysis" / "cross_validation.json").write_text(json.dumps(folds))
    assert "90.00%  70.00 to 100.00%  cross-validation" in list_runs(tmp_path).render()


def test_a_file_is_named_as_it_is_found_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "runs" / "mine", 0.9)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["data"]["name"] = "../../reviews.csv"
    (run / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.chdir(tmp_path)
    (found,) = list_runs(Path("runs")).runs
    assert found.data == "reviews.csv"


def test_a_running_run_is_training_while_its_lock_is_held_and_killed_otherwise(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", status="running")
    make_run(tmp_path / "other", 0.5, unfinished={"task": "report"})
    with FileLock(run / ".lock"):
        assert [listed.status for listed in list_runs(tmp_path).runs] == ["unfinished", "training"]
    assert [listed.status for listed in list_runs(run).runs] == ["killed"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("manifest.json", b"{", "not JSON"),
        ("manifest.json", b"\xff", "utf-8"),
        ("manifest.json", b"[]", "manifest.json"),
        ("manifest.json", b'{"format": 1}', "format 1"),
        ("manifest.json", b'{"format": 2}', "manifest.json: name: expected a value, found none"),
        ("metrics.json", b'{"test": {"rows": 1, "accuracy": "high"}}', "test.accuracy"),
        ("metrics.json", b'{"test": 3}', "metrics.json: test"),
    ],
)
def test_a_broken_run_is_listed_with_its_reason(
    tmp_path: Path, file: str, content: bytes, reason: str
) -> None:
    run = make_run(tmp_path / "bad\x1b[2J", 0.5)
    (run / file).write_bytes(content)
    make_run(tmp_path / "good", 0.7)
    found = list_runs(tmp_path)
    assert [Path(listed.path).name for listed in found.runs] == ["good"]
    assert [broken.path for broken in found.unreadable] == [str(run)]
    assert reason in found.unreadable[0].reason
    assert "\x1b" not in found.render()


def test_remains_of_runs_are_listed_and_other_folders_are_not(tmp_path: Path) -> None:
    for name, content in {"gone": "history.jsonl", "mine": "notes.txt"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").touch()
        (tmp_path / name / content).touch()
    (tmp_path / "half" / ".replaced").mkdir(parents=True)
    make_run(tmp_path / ".hidden", 0.5)
    make_run(tmp_path / "a/b/c/d/e/f/deep", 0.5)
    make_run(tmp_path.with_name(f"{tmp_path.name}-elsewhere") / "run", 0.5)
    (tmp_path / "link").symlink_to(tmp_path.with_name(f"{tmp_path.name}-elsewhere"))
    found = list_runs(tmp_path)
    assert found.runs == []
    assert {Path(run.path).name: run.reason for run in found.unreadable} == {
        "gone": "manifest.json: expected the manifest of a run, found no such file",
        "half": "the run was about to be replaced; `resume` brings it back",
    }
    assert "no runs below" in found.render()


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a folder with runs, found no such folder"):
        list_runs(tmp_path / "none")


def test_a_run_is_listed_from_two_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        make_run(tmp_path / f"{number:04}", number / 10)
    opened: list[str] = []

    def opening(file: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(Path(file).name)
        return plain(file, *arguments, **options)

    plain = io.open
    monkeypatch.setattr(io, "open", opening)
    assert len(list_runs(tmp_path).runs) == 5
    # A thousand runs are listed within seconds: each costs no more than these.
    assert sorted(opened) == ["manifest.json"] * 5 + ["metrics.json"] * 5
