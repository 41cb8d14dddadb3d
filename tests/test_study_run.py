"""Whole studies of a tiny encoder: trained, continued, killed at random points, and judged alike."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from submillion.errors import BadInput
from submillion.rundir import RunDir
from submillion.study.run import study
from submillion.verify import verify
from tiny import tiny_encoder, tiny_texts

KILLS = 10
COSTS = ("wall_seconds", "samples_per_second", "peak_memory_mb")


def write_rows(file: Path, rows: int, seed: int) -> None:
    texts, labels = tiny_texts(rows, seed)
    lines = [f"{text},class {label}" for text, label in zip(texts, labels, strict=True)]
    file.write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny encoder, data and two studies of two cells: one without test rows, and one with."""
    home = tmp_path_factory.mktemp("house")
    tiny_encoder(home / "encoder")
    write_rows(home / "train.csv", 160, 0)
    write_rows(home / "test.csv", 40, 1)
    recipe = {
        "encoder": {"source": str(home / "encoder")},
        "data": {"train": str(home / "train.csv"), "max_length": 32},
        "lora": {"r": 4, "alpha": 8, "targets": ["all-linear"], "layers": "top-1"},
        "train": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-2, "patience": 0, "log_every": 2},
    }
    (home / "tiny.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    axes = {"lora.dropout": [0.1, 0.5]}
    studies = {
        "dropout": {"axes": axes, "seeds": [1]},
        "tested": {"axes": axes, "seeds": [1], "set": {"data.test": str(home / "test.csv")}},
    }
    for name, values in studies.items():
        (home / f"{name}.yaml").write_text(yaml.safe_dump({"base": "tiny.yaml"} | values), encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def done(house: Path) -> Path:
    """The study without test rows, undisturbed."""
    outcome = study(house / "dropout.yaml", house / "done", quiet=True)
    assert not outcome.failed
    return house / "done"


def findings(place: Path) -> dict[str, Any]:
    """Return what a study found, without what time and memory it took."""
    found: dict[str, Any] = json.loads((place / "study.json").read_text(encoding="utf-8"))
    for cell in found["cells"]:
        for cost in COSTS:
            del cell[cost]
    del found["pareto"]["wall_seconds"]
    return found


def test_a_study_trains_every_cell_with_every_seed(done: Path) -> None:
    found = findings(done)
    assert [cell["seeds"] for cell in found["cells"]] == [[1], [1]]
    assert found["winner"] in ("base", "lora.dropout=0.5")
    assert "test" not in found
    for run in (done / "runs").iterdir():
        if run.is_dir():
            assert set(RunDir(run).read_json(RunDir(run).metrics)) == {"validation"}


def test_test_is_looked_at_for_winner_and_base_alone(house: Path, tmp_path: Path) -> None:
    outcome = study(house / "tested.yaml", tmp_path / "out", quiet=True)
    assert not outcome.failed
    chosen = {"base", outcome.found["winner"]}
    assert set(outcome.found["test"]) == {f"{name.replace('=', '-')}-seed1" for name in chosen}
    for cell in outcome.found["cells"]:
        run = RunDir(tmp_path / "out" / "runs" / f"{cell['name'].replace('=', '-')}-seed1")
        assert ("test" in run.read_json(run.metrics)) == (cell["name"] in chosen)
        assert run.report.is_file() == (cell["name"] in chosen)
        assert run.read_manifest()["test_held_back"] == (cell["name"] not in chosen)
    for_whom = "it and the base" if len(chosen) == 2 else "the base"
    assert f"Test was looked at for {for_whom} alone" in outcome.render()
    trial = next((tmp_path / "out" / "runs").glob("base-seed1"))
    assert verify(trial, rows=5, seed=0).holds  # a finished trial is a run as any other


def test_a_finished_study_is_not_trained_again(done: Path, house: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in (done / "runs").rglob("*") if file.is_file()}
    found = findings(done)
    outcome = study(house / "dropout.yaml", done, quiet=True)
    assert not outcome.failed
    assert findings(done) == found
    after = {file: file.stat().st_mtime_ns for file in (done / "runs").rglob("*") if file.is_file()}
    assert {file: at for file, at in after.items() if not file.name.endswith(".lock")} == {
        file: at for file, at in before.items() if not file.name.endswith(".lock")
    }


def test_a_run_of_another_recipe_is_not_taken_for_ones_own(done: Path, house: Path) -> None:
    with pytest.raises(BadInput, match="a run of this study's recipe"):
        study(house / "dropout.yaml", done, overrides=["lora.r=2"], quiet=True)


def test_runs_that_fail_are_told_and_the_others_stand(house: Path, tmp_path: Path) -> None:
    (tmp_path / "gone.csv").write_text((house / "train.csv").read_text(encoding="utf-8"), encoding="utf-8")
    axes = {"data.train": [str(house / "train.csv"), str(tmp_path / "gone.csv")]}
    file = {"base": str(house / "tiny.yaml"), "axes": axes, "seeds": [1], "set": {"train.epochs": 1}}
    (tmp_path / "gone.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
    (tmp_path / "gone.csv").write_text("text,label\n", encoding="utf-8")
    outcome = study(tmp_path / "gone.yaml", tmp_path / "out", quiet=True)
    (name,) = outcome.failed
    assert "gone.csv" in name and "gone.csv" in outcome.failed[name]
    assert [len(cell["seeds"]) for cell in outcome.found["cells"]] == [1, 0]
    assert "failed" in outcome.render()


def test_an_unknown_engine_is_refused(house: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Did you mean 'local'"):
        study(house / "dropout.yaml", tmp_path / "out", engine="locl", quiet=True)


def test_killed_at_random_points_it_ends_with_the_same_table(done: Path, house: Path, tmp_path: Path) -> None:
    drawn = random.Random(0)
    place = tmp_path / "killed"
    command = [
        sys.executable,
        "-m",
        "submillion.cli",
        "study",
        str(house / "dropout.yaml"),
        "--out",
        str(place),
    ]
    log = tmp_path / "log"
    for kill in range(KILLS):
        with open(log, "ab") as output:
            driver = subprocess.Popen([*command, "--quiet"], stdout=output, stderr=output)
        time.sleep(drawn.uniform(0.5, 6))
        workers = psutil.Process(driver.pid).children(recursive=True) if driver.poll() is None else []
        if kill % 2 and workers:
            workers[0].send_signal(
                signal.SIGKILL
            )  # a worker alone: the driver tells it as failed and goes on
            time.sleep(drawn.uniform(0, 2))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        deadline = time.monotonic() + 20
        while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
            assert time.monotonic() < deadline, "a worker outlived its driver"
            time.sleep(0.05)
    ended = subprocess.run([*command, "--quiet"], capture_output=True, text=True, env=os.environ, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert findings(place) == findings(done)
