"""Tests that two processes (accelerate launch, or one torchrun each) train like one with twice the batch size."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from submillion import notices, pipeline
from submillion.fit.workers import Workers
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from support import SRC, TESTS
from support.command import WITHOUT_FIGURES
from support.fit_launch import recorded_gradients
from support.fit_stub import StubClassifier, fit_stub, train_recipe, without_timings
from support.tiny_project import shared_project

# 99 texts in batches of 8 for both processes: one batch has 3 texts, of which the processes get 2 and 1.
# In batches of 2, one batch is a single text, and the second process gets none.
FIELDS: dict[str, Any] = {"epochs": 2, "eval_every": 5}
EVEN = FIELDS | {"batch_size": 4}
EMPTY = FIELDS | {"batch_size": 1, "gradient_accumulation_steps": 7}
SOURCES = os.pathsep.join((str(SRC), str(TESTS)))


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a process that trains on the CPU."""
    ours = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": SOURCES}
    return os.environ | ours | variables


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Train in two processes: with even shares, with empty shares, and stopped by the second process."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("even", "empty", "stopped")}
    trainings = [
        (str(folders["even"]), EVEN),
        (str(folders["empty"]), EMPTY),
        (str(folders["stopped"]), EVEN | {"stop_after": 9}),
    ]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", free_port()]
    command += [str(TESTS / "support" / "fit_launch.py"), json.dumps(trainings)]
    subprocess.run(command, env=environment(), check=True, timeout=240)
    return folders


@pytest.mark.parametrize(
    ("name", "alone"), [("even", EVEN | {"batch_size": 8}), ("empty", EMPTY | {"batch_size": 2})]
)
def test_two_processes_train_like_one_with_twice_the_batch_size(
    launched: dict[str, Path], tmp_path: Path, name: str, alone: dict[str, Any]
) -> None:
    with recorded_gradients() as gradients:
        classifier, result, run = fit_stub(
            tmp_path, StubClassifier(dropout=0), train_rows=99, recipe=train_recipe(**alone)
        )
    results = [json.loads((launched[name] / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert [(r["processes"], r["steps"]) for r in results] == [(2, result.steps)] * 2
    assert results[0]["texts_seen"] == result.texts_seen == 2 * 99
    assert results[0]["tokens_seen"] == result.tokens_seen
    for rank in range(2):
        tensors = load_file(launched[name] / f"rank{rank}.safetensors")
        for key, value in classifier.tensors().items():
            torch.testing.assert_close(tensors[key], value, rtol=1e-3, atol=1e-5)
        theirs = load_file(launched[name] / f"gradients{rank}.safetensors")["gradients"]
        torch.testing.assert_close(theirs[0], gradients[0], rtol=1e-5, atol=1e-8)  # at the same values
        torch.testing.assert_close(theirs, torch.stack(gradients), rtol=1e-3, atol=1e-5)
    theirs, ours = RunDir(launched[name] / "run").read_history(), run.read_history()
    assert len(theirs) == len(ours)  # so only one of the two processes wrote it
    for one, other in zip(without_timings(theirs), without_timings(ours), strict=True):
        assert one.pop("kind") == other.pop("kind")
        assert one == pytest.approx(other, rel=1e-3)


def test_both_processes_end_with_the_same_bits(launched: dict[str, Path]) -> None:
    for folder in launched.values():
        one, other = (load_file(folder / f"rank{rank}.safetensors") for rank in range(2))
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_ctrl_c_in_one_process_stops_both_at_the_same_step(launched: dict[str, Path]) -> None:
    results = [json.loads((launched["stopped"] / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert [(r["interrupted"], r["steps"], r["best_step"]) for r in results] == [(True, 9, 5)] * 2
    assert (launched["stopped"] / "run" / "checkpoint" / "latest" / "state.safetensors").is_file()


def test_two_nodes_produce_the_run_of_one_process(tmp_path: Path) -> None:
    """One torchrun per node with separate folders, as on two machines that share only encoder and data."""
    project = shared_project()
    # Each process draws dropout for its own texts; without dropout the outcomes are equal.
    fields = ("encoder.dropout", "encoder.attention_dropout", "encoder.classifier_dropout", "lora.dropout")
    sets = [*(f"{field}=0" for field in fields), f"data.validation={project / 'test.csv'}", "train.epochs=1"]
    endpoint = f"127.0.0.1:{free_port()}"
    nodes, places = [], [tmp_path / "node0", tmp_path / "node1"]
    for number, place in enumerate(places):
        place.mkdir()
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
        command += ["--node-rank", str(number), "--rdzv-endpoint", endpoint]
        command += ["--no-python", sys.executable, "-c", WITHOUT_FIGURES]
        command += ["train", str(project / "tiny.yaml"), "--out", "run", "--quiet"]
        for item in (*sets, "train.batch_size=4"):
            command += ["--set", item]
        with (place / "log.txt").open("wb") as log:
            own = environment(SUBMILLION_CACHE=str(place / "cache"))
            nodes.append(subprocess.Popen(command, cwd=place, env=own, stdout=log, stderr=log))
    try:
        codes = [node.wait(timeout=400) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert codes == [0, 0], [(place / "log.txt").read_text(encoding="utf-8") for place in places]
    assert not (tmp_path / "node1" / "run").exists()

    alone = pipeline.train(
        Recipe.load(project / "tiny.yaml", sets), tmp_path / "alone", quiet=True, hold_back_test=True
    )
    together = RunDir.open(tmp_path / "node0" / "run")
    assert together.read_manifest()["training"]["processes"] == 2
    theirs, ours = (load_file(run.adapter / "adapter_model.safetensors") for run in (together, alone.run))
    assert theirs.keys() == ours.keys()
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-5)
    one, other = (run.load_predictions("validation") for run in (together, alone.run))
    assert one.text_sha256 == other.text_sha256 and len(one.text_sha256) == 40
    assert np.abs(one.probabilities - other.probabilities).max() < 1e-4
    assert (one.probabilities.argmax(1) == other.probabilities.argmax(1)).all()


def test_single_process_is_its_own_world() -> None:
    workers = Workers.start()
    assert (workers.rank, workers.world, workers.is_main) == (0, 1, True)
    workers.wait()
    tensor = torch.ones(2)
    workers.add_up(tensor)
    assert tensor.tolist() == [1, 1]
    assert workers.gather("a") == ["a"]


def test_launch_that_started_only_one_process_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    Workers.start()
    (notice,) = [notice for notice in notices.collected() if notice["code"] == "processes"]
    assert "started 1 process" in notice["text"] and "--multi_gpu" in notice["text"]
