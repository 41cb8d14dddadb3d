"""Tests of estimate/ on a tiny encoder without weights: every configuration gets a predicted speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion.budget.plan_result import plan_or_count
from submillion.errors import BadInput
from submillion.estimate.benchmark import with_speed
from submillion.estimate.workload import workload_of
from support.tiny import tiny_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_encoder(tmp_path_factory.mktemp("speed") / "encoder")
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    return folder


def test_plans_of_an_encoder_without_weights_get_speeds(encoder: Path) -> None:
    plans = plan_or_count(None, str(encoder), 3, 3000, {}, [])
    result = with_speed(plans, rows=1000, tokens=12, epochs=3, budget_s=0.05)
    assert len(result.speeds) == len(result.plans) == len(result.loras)
    assert all(speed.samples_per_s > 0 and speed.hours > 0 for speed in result.speeds)
    assert result.measured["tokens_per_text"] == 12
    assert result.measured["workload"]["source"] == "--rows, --tokens"
    assert "texts/s" in result.render()


def test_a_count_gets_the_first_speed(encoder: Path) -> None:
    count = plan_or_count(None, str(encoder), 3, 10**6, {"r": 2, "layers": "top-1"}, [])
    result = with_speed(count, tokens=8, budget_s=0.05)
    (speed,) = result.speeds
    assert result.to_json()["speed"] == speed.to_json()


def test_the_default_workload_is_that_of_ag_news() -> None:
    count = plan_or_count("agnews", None, None, None, {}, ["data.train=nobody/has-this"])
    work = workload_of(count, rows=900)
    assert (work.rows, work.validation_rows, work.tokens, work.epochs) == (900, 100, 53.0, 5)
    assert work.source == "--rows, else AG News (108,000 training texts of 53 tokens)"


def test_steps_evaluations_and_second_passes_are_part_of_the_workload() -> None:
    sets = ["data.train=nobody/has-this", "train.batch_size=30", "train.steps=90", "train.eval_every=10%"]
    sets += ["train.r_drop=1", "train.average_from=0.5"]
    work = workload_of(plan_or_count("agnews", None, None, None, {}, sets), rows=900)
    assert (work.epochs, work.evaluations, work.passes) == (3, 15, 2)


def test_bitfit_has_no_adapters_to_time(encoder: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"encoder: {{source: {encoder}}}\ndata: {{train: none.csv}}\nlora: {{variant: bitfit}}\n")
    bitfit = plan_or_count(str(file), None, None, None, {}, [])
    with pytest.raises(BadInput, match="plan --speed: expected a lora.variant with adapters, found bitfit"):
        with_speed(bitfit)
