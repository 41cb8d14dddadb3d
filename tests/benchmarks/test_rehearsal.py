"""Tests of the rehearsal benchmark without a training: preparation, continuation and phases."""

import csv
import json
import os
from pathlib import Path

import pytest

from benchmarks import rehearsal
from benchmarks.distinct_texts import read_labelled
from benchmarks.phases import phases_of, time_data
from benchmarks.rehearsal import Work, render, summary
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from support.run import made_manifest
from support.tiny import LABELS, shared_encoder, tiny_texts

OPTIONS = {"rows": 50, "test_rows": 7, "epochs": 2, "layers": "top-1", "set": ["train.threads=1", "seed=5"]}
FIT = {
    "wall_seconds": 100.0,
    "train_seconds": 70.0,
    "prefix_cached": True,
    "epochs_run": 2,
    "execution": "packed-amx",
    "samples_per_second": 130.5,
    "peak_memory_mb": 1800.0,
}


def write(file: Path, moment: float, text: str = "{}") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    os.utime(file, (moment, moment))


def finished(run: RunDir) -> None:
    """Make a run whose fit ended at second 120 and which was complete at second 137."""
    manifest = made_manifest(["a", "b"])
    manifest["training"] |= FIT
    manifest["machine"]["cores"] = 2
    for split, rows in (("train", 45), ("test", 7)):
        manifest["data"]["splits"][split]["rows"] = rows
    write(run.manifest, 137, json.dumps(manifest))
    scores = {"step": 1, "epoch": 1.0, "loss": 0.5, "accuracy": 0.75, "macro_f1": 0.7}
    evaluations = [{"kind": "eval", "seconds": seconds} | scores for seconds in (8.0, 7.0)]
    write(run.history, 110, "".join(json.dumps(record) + "\n" for record in evaluations))
    write(run.adapter / "adapter_config.json", 119)
    write(run.adapter / "adapter_model.safetensors", 120)
    write(run.predictions / "validation.parquet", 124)
    write(run.predictions / "test.parquet", 127)
    write(run.metrics, 128)
    write(run.analysis / "errors.json", 129, json.dumps({"cost": {"seconds": 0.75}}))
    write(run.analysis / "intervals.json", 130, json.dumps({"cost": {"seconds": 0.5}}))
    write(run.figures / "loss.svg", 133)
    write(run.figures / "loss.png", 134)
    write(run.card, 135)
    write(run.report, 136)


def test_phases_add_up_to_the_time_of_the_processes(tmp_path):
    run = RunDir(tmp_path)
    finished(run)
    attempts = [{"seconds": 137.0, "ended": 137.0}]
    phases = phases_of(run, attempts, {"data": 3.0, "tokens": 4.0})
    seconds = {phase.name: phase.seconds for phase in phases}
    assert sum(seconds.values()) == pytest.approx(137)
    assert seconds == pytest.approx(
        {
            "start, imports, model": 137 - 3 - 4 - 100 - 4 - 3 - 1 - 1.25 - 4 - 2 - 1,
            "reading and checking the data": 3,
            "tokens": 4,
            "prefix cache and checkpoints": 100 - 70 - 15,
            "steps": 70,
            "evaluations": 15,
            "predictions for validation": 4,
            "predictions for test": 3,
            "metrics": 1,
            "analysis": 1.25,
            "hashes and figures": 4,
            "card and page": 2,
            "shutdown": 1,
        }
    )
    two = phases_of(run, [{"seconds": 60.0, "ended": 60.0}, *attempts], {"data": 3.0, "tokens": 4.0})
    assert sum(phase.seconds for phase in two) == pytest.approx(197)
    assert two[0].name.startswith("2 starts") and two[1].seconds == 6


def test_a_summary_has_shares_and_survives_a_killed_benchmark(tmp_path):
    work = Work(tmp_path)
    finished(work.run)
    write(work.run.checkpoint / "latest" / "state.json", 45)
    write(work.options, 0, json.dumps(OPTIONS))
    write(work.data_times, 0, json.dumps({"data": 3.0, "tokens": 4.0}))
    lines = [
        {
            "command": "train",
            "started_at": 0.0,
        },  # killed with its benchmark; it saved a checkpoint at second 45
        {"command": "resume", "started_at": 50.0},
        {"ended": 137.5, "seconds": 87.5, "cpu_seconds": 150.0, "code": 0},
    ]
    write(work.attempts, 0, "".join(json.dumps(line) + "\n" for line in lines))
    result = summary(work)
    assert [attempt["seconds"] for attempt in result["attempts"]] == [45.0, 87.5]
    assert result["seconds"] == 132.5 and result["cpu_seconds"] is None
    assert sum(phase["share"] for phase in result["phases"]) == pytest.approx(1)
    table = render(result)
    assert "steps" in table and "52.8%" in table and "45 train, 380 validation, 7 test rows" in table


def test_the_prepared_recipe_can_be_loaded(tmp_path):
    data, encoder, work = tmp_path / "data", shared_encoder(), Work(tmp_path / "work")
    texts, labels = tiny_texts(40)
    data.mkdir()
    with (data / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *zip(texts, (LABELS[n] for n in labels), strict=True)])
    work.prepare(data, encoder, OPTIONS)
    recipe = Recipe.load(work.recipe)
    assert (recipe.train.epochs, recipe.train.patience, recipe.train.threads, recipe.seed) == (2, 0, 1, 5)
    assert recipe.lora.layers == "top-1" and recipe.lora.targets == ["query", "value"] and recipe.lora.r == 8
    assert recipe.encoder.source == str(encoder)  # it has weights
    assert (
        len(read_labelled(Path(recipe.data.train))) == 50 and len(read_labelled(Path(recipe.data.test))) == 7
    )
    written_at = Path(recipe.data.train).stat().st_mtime_ns
    work.prepare(data, encoder, OPTIONS)
    assert Path(recipe.data.train).stat().st_mtime_ns == written_at
    with pytest.raises(SystemExit, match="found another"):
        work.prepare(data, encoder, OPTIONS | {"epochs": 5})
    times = time_data(work.recipe)
    assert times.keys() == {"data", "tokens"} and min(times.values()) > 0


def test_it_continues_with_the_missing_step(tmp_path):
    work = Work(tmp_path)
    assert work._command() == ["train", str(work.recipe), "--out", str(work.run.path), "--overwrite"]
    for status in ("running", "interrupted"):
        write(work.run.manifest, 1, json.dumps({"format": 2, "status": status}))
        assert work._command() == ["resume", str(work.run.path)]
    write(work.run.manifest, 1, json.dumps({"format": 2, "status": "complete"}))
    command = work._command()
    assert command[:2] == ["report", str(work.run.path)] and "errors" in command and "audit" not in command
    write(work.run.report, 1)
    assert work._command() is None and work.proceed() == 0


def test_a_failed_process_is_recorded_and_reported(tmp_path, monkeypatch, capsys):
    work = Work(tmp_path)
    monkeypatch.setattr(Work, "prepare", lambda *_: None)
    monkeypatch.setattr(Work, "_command", lambda *_: ["resume", str(tmp_path / "absent")])
    given = ["--data", "x", "--encoder", "y", "--work", str(tmp_path)]
    assert rehearsal.main([*given]) == 2  # the real command: no such run
    assert "ended with 2" in capsys.readouterr().err
    (attempt,) = work.all_attempts()
    assert attempt["code"] == 2 and attempt["command"] == "resume" and 0 < attempt["seconds"] < 600


def test_the_full_size_is_that_of_the_reference_run(monkeypatch):
    seen = []
    monkeypatch.setattr(Work, "prepare", lambda work, data, encoder, options: seen.append(options))
    monkeypatch.setattr(Work, "proceed", lambda work: 130)
    given = ["--data", "x", "--encoder", "y", "--work", "z"]
    assert rehearsal.main(given) == 130
    assert rehearsal.main([*given, "--rows", "1200"]) == 130
    assert seen[0] == {"rows": 120_000, "test_rows": 7_600, "epochs": 5, "layers": "all", "set": []}
    assert seen[1]["test_rows"] == 76
