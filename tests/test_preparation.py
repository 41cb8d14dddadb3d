"""Tests of the preparation of a run: what is refused leaves every file as it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from submillion import environment, pipeline, preparation, reporting
from submillion.errors import BadInput, OverBudget
from submillion.fit import checkpoint, loop
from submillion.recipe import Recipe
from submillion.run_inputs import CONTINUED_ELSEWHERE
from submillion.rundir import RunDir
from submillion.sources.fetch import FetchedEncoder, fetch_encoder
from submillion.verification.run import checks
from support.tampering import change_json
from support.tiny_project import make_project, write_rows


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the finished run `run`."""
    home = make_project(tmp_path_factory.mktemp("project"))
    pipeline.train(recipe_of(home), home / "run", quiet=True, hold_back_test=True)
    return home


def recipe_of(home: Path, *overrides: str) -> Recipe:
    return Recipe.load(home / "tiny.yaml", ["train.epochs=1", "train.threads=1", *overrides])


def state_of(folder: Path) -> dict[str, str]:
    """Return the hash of every file, and every folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


def somebodys_classifier(home: Path) -> str:
    """Return the encoder with the head of another number of classes."""
    folder = Path(shutil.copytree(home / "encoder", home / "classifier", dirs_exist_ok=True))
    tensors = load_file(folder / "model.safetensors")
    rows = tensors["roberta.embeddings.word_embeddings.weight"][:7]
    save_file(
        tensors | {"classifier.out_proj.weight": rows.clone()}, folder / "model.safetensors", {"format": "pt"}
    )
    return str(folder)


def without_tokenizer(home: Path) -> str:
    folder = Path(shutil.copytree(home / "encoder", home / "mute", dirs_exist_ok=True))
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    return str(folder)


REFUSED = {
    "too long": lambda home: ["data.max_length=900"],
    "no room for a token": lambda home: ["data.max_length=2"],
    "tokenizer": lambda home: [f"encoder.source={without_tokenizer(home)}"],
    "no encoder": lambda home: ["encoder.source=./none"],
    "execution": lambda home: [
        "train.execution=packed",
        "encoder.attention_dropout=0.3",
        "lora.variant=vera",
    ],
    "compile": lambda home: ["train.execution=packed", "train.compile=true"],
    "layers": lambda home: ["lora.layers=[7]"],
    "budget": lambda home: ["budget=100"],
    "rows": lambda home: ["data.limit=1"],
    "column": lambda home: ["data.text=body"],
    "file": lambda home: ["data.test=none.csv"],
    "eva": lambda home: ["lora.variant=eva", "lora.r=5000", "budget=90000000"],
    "diverging": lambda home: ["train.learning_rate=1e30"],
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_training_leaves_the_earlier_run_and_no_new_directory(project: Path, case: str) -> None:
    overrides = REFUSED[case](project)
    before = state_of(project)
    for place in (project / "run", project / "new" / "run"):
        with pytest.raises((BadInput, OverBudget)):
            pipeline.train(recipe_of(project, *overrides), place, overwrite=True, quiet=True)
    assert state_of(project) == before
    assert RunDir(project / "run").read_manifest()["status"] == "complete"


def test_a_tracker_that_does_not_start_is_refused_like_the_rest(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate import Accelerator

    def nobody_is_logged_in(*_: object, **__: object) -> None:
        raise RuntimeError("log in first")

    monkeypatch.setattr("submillion.fit.tracking.find_spec", lambda name: name)
    monkeypatch.setattr(Accelerator, "init_trackers", nobody_is_logged_in)
    monkeypatch.setattr(
        Accelerator, "__init__", lambda *_, **__: None
    )  # would warn that trackio is not installed
    before = state_of(project)
    with pytest.raises(BadInput, match="log in first"):
        pipeline.train(recipe_of(project, "track=[trackio]"), project / "run", overwrite=True, quiet=True)
    assert state_of(project) == before


class Stop(BaseException):
    """Stands in for the end of the process."""


@pytest.fixture
def stopped(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project with a run that was killed after its first evaluation, named by relative paths."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("encoder", "train.csv", "test.csv", "tiny.yaml"):
        (shutil.copytree if (project / name).is_dir() else shutil.copyfile)(project / name, home / name)
    monkeypatch.chdir(home)
    write_rows(home / "more.csv", 4, 7)
    overrides = ["encoder.source=encoder", "data.train=train.csv", "data.test=test.csv", "train.epochs=2"]
    overrides += ["data.more=more.csv"]
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(loop.TrainingLoop, "_log", _stop_in_the_second_epoch)
        pipeline.train(recipe_of(home, *overrides), "runs/mine", quiet=True)
    monkeypatch.chdir(tmp_path)
    return home


LOG = loop.TrainingLoop._log


def _stop_in_the_second_epoch(self: loop.TrainingLoop) -> None:
    LOG(self)
    if self.epoch > 1:
        raise Stop


def test_resume_on_changed_rows_is_refused_and_names_the_file(stopped: Path) -> None:
    write_rows(stopped / "test.csv", 40, 9)
    before = state_of(stopped)
    with pytest.raises(BadInput, match=r"home/test\.csv: expected unchanged since the run started"):
        pipeline.resume(stopped / "runs" / "mine", quiet=True)
    write_rows(stopped / "test.csv", 40, 1)
    text = (stopped / "train.csv").read_text(encoding="utf-8")
    (stopped / "train.csv").write_text(text + "a new row,class 0\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"home/train\.csv: expected unchanged"):
        pipeline.resume(stopped / "runs" / "mine", quiet=True)
    (stopped / "train.csv").write_text(text, encoding="utf-8")
    write_rows(stopped / "more.csv", 4, 8)
    with pytest.raises(BadInput, match=r"home/more\.csv: expected unchanged"):
        pipeline.resume(stopped / "runs" / "mine", quiet=True)
    write_rows(stopped / "more.csv", 4, 7)
    # The same rows in other bytes are the same data.
    (stopped / "train.csv").write_bytes(text.replace("\n", "\r\n").encode())
    assert set(state_of(stopped)) == set(before)
    outcome = pipeline.resume(stopped / "runs" / "mine", quiet=True, hold_back_test=True)
    assert outcome.run.read_manifest()["status"] == "complete"


def test_a_recipe_that_builds_another_classifier_does_not_continue_a_run(stopped: Path) -> None:
    run = RunDir(stopped / "runs" / "mine")
    recipe = run.read_recipe()
    run.write_recipe(recipe.model_copy(update={"lora": recipe.lora.model_copy(update={"alpha": 16.0})}))
    with pytest.raises(
        BadInput, match=r"expected lora\.alpha 8\.0, as when the run was started, found 16\.0"
    ):
        pipeline.resume(run.path, quiet=True)
    # The state of an older version does not say how the classifier was built.
    tensors, position = checkpoint.read(checkpoint.latest(run))
    position["identity"] = {
        name: value for name, value in position["identity"].items() if not name.startswith("lora.")
    }
    checkpoint.save(run, tensors, position)
    pipeline.resume(run.path, quiet=True, hold_back_test=True)


def test_a_run_resumed_with_other_arithmetic_says_so(stopped: Path) -> None:
    run = RunDir(stopped / "runs" / "mine")
    earlier = {"code": CONTINUED_ELSEWHERE, "text": "earlier", "differing": "machine.threads 1, now 4"}

    def begun_elsewhere(manifest: dict[str, Any]) -> None:
        manifest["machine"] |= {"processor": "Another Processor"}
        for notice in manifest["notices"]:
            notice |= {"dtype": "bfloat16"} if notice["code"] == "precision" else {}
        manifest["notices"].append(earlier)

    change_json(run.manifest, begun_elsewhere)
    pipeline.resume(run.path, quiet=True, hold_back_test=True)
    kept, new = (notice for notice in run.read_manifest()["notices"] if notice["code"] == CONTINUED_ELSEWHERE)
    assert kept == earlier
    processor = environment.processor()
    expected = f"machine.processor Another Processor, now {processor}; precision bfloat16, now float32"
    assert new["differing"] == expected


def test_a_run_is_resumed_on_the_commit_of_its_encoder(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def fetched(source: str, revision: str | None, progress: bool) -> FetchedEncoder:
        asked.append(revision)
        return fetch_encoder(source, None, progress)

    run = RunDir(stopped / "runs" / "mine")
    change_json(run.manifest, lambda manifest: manifest["encoder"].update(revision="0123abc"))
    monkeypatch.setattr(preparation, "fetch_encoder", fetched)
    pipeline.resume(run.path, quiet=True, hold_back_test=True)
    assert asked == ["0123abc"]
    assert not [note for note in run.read_manifest()["notices"] if note["code"] == CONTINUED_ELSEWHERE]


def test_run_and_data_that_were_moved_together_are_resumed_and_verified(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(stopped / "runs" / "mine")
    recorded = run.recipe.read_text(encoding="utf-8") + run.manifest.read_text(encoding="utf-8")
    assert str(tmp_path) not in recorded
    assert "train: ../../train.csv" in recorded and "source: ../../encoder" in recorded
    moved = RunDir(stopped.rename(tmp_path / "elsewhere") / "runs" / "mine")
    monkeypatch.chdir(os.sep)
    pipeline.resume(moved.path, quiet=True, hold_back_test=True)
    named = {"recipe", "encoder", "data", "tokens", "checkpoint", "predictions"}
    monkeypatch.setattr(checks, "CHECKS", [check for check in checks.CHECKS if check[0] in named])
    verdict = checks.verify(moved.path, rows=3, seed=0)
    assert verdict.holds, verdict.render()
    assert moved.read_recipe().data.train == str(tmp_path / "elsewhere" / "train.csv")
    again = Recipe.load(moved.recipe, ["train.epochs=1"])
    assert (again.data.train, again.train.epochs) == (str(tmp_path / "elsewhere" / "train.csv"), 1)


def test_a_moved_run_without_its_data_names_the_place_where_they_were_expected(
    stopped: Path, tmp_path: Path
) -> None:
    alone = (
        (stopped / "runs").rename(tmp_path / "alone" / "runs")
        if (tmp_path / "alone").mkdir() is None
        else None
    )
    assert alone is not None
    with pytest.raises(BadInput, match=rf"{tmp_path}/alone/train\.csv"):
        pipeline.resume(alone / "mine", quiet=True)


def test_what_a_killed_evaluation_began_is_completed_by_resume(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Stop

    run = RunDir(shutil.copytree(project, tmp_path / "home") / "run")
    with pytest.raises(BadInput, match="an interrupted run"):
        pipeline.resume(run.path)
    monkeypatch.setattr(reporting, "write_report", lambda _: None)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(RunDir, "seal", stop)
        reporting.evaluate(run.path, project / "test.csv", name="later", thresholds=[0.3])
    assert run.read_manifest()["unfinished"]["task"] == "evaluate"
    outcome = pipeline.resume(run.path, quiet=True)
    assert "0.3" in json.dumps(outcome.metrics["later"]["confidence"])
    assert "unfinished" not in run.read_manifest()
    assert run.hashes(run.predictions).items() <= run.read_manifest()["files"].items()
