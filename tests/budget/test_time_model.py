"""Tests of budget/time_model.py: layers of known cost added up by hand, and the speeds that a plan prints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from submillion.budget.plan_result import PlanResult
from submillion.budget.planner import best_plans
from submillion.budget.time_model import AdaptedCost, Cost, Measurement, Speed, Workload, speed_of
from submillion.recipe import LoraRecipe
from support.budget_models import REAL

ROBERTA = REAL["roberta-base"]
QUERY_VALUE = 2 * (768 + 768)
ALL_LINEAR = 4 * (768 + 768) + 2 * (768 + 3072)
NARROW = AdaptedCost(QUERY_VALUE, lowest=Cost(0.1, 0.02), between=Cost(0.2, 0.03), last=Cost(0.4, 0.01))
WIDE = AdaptedCost(ALL_LINEAR, lowest=Cost(0.1, 0.04), between=Cost(0.2, 0.05), last=Cost(0.4, 0.03))
MEASURED = Measurement(Cost(0.0, 0.005), Cost(0.0, 0.002), [NARROW, WIDE], {"seconds": 2.0})
WORK = Workload(100, 20, 53.0, 2, 10, 10, "here")


def test_a_cost_is_a_line_through_two_batches() -> None:
    cost = Cost.through(2, 0.5, 10, 1.3)
    assert (cost.fixed, cost.per_text) == (pytest.approx(0.3), pytest.approx(0.1))
    assert cost.seconds(32) == pytest.approx(3.5)
    assert Cost.through(2, 0.5, 10, 0.4) == Cost(0.0, 0.04), "noise: a negative slope"
    assert Cost.through(2, 0.1, 10, 1.0) == Cost(0.0, 0.1), "noise: a negative offset"
    assert Cost(1, 1) - Cost(2, 0.25) == Cost(0, 0.75)


def test_all_layers() -> None:
    # 12 layers: lowest 0.1 + 10 x 0.02, ten between of 0.2 + 10 x 0.03, last 0.4 + 10 x 0.01.
    step = 0.3 + 10 * 0.5 + 0.5
    speed = speed_of(MEASURED, ROBERTA, LoraRecipe(targets=["query", "value"]), WORK)
    assert speed.samples_per_s == pytest.approx(10 / step)
    assert speed.prefix_s == 0
    evaluation = 20 * (11 * 0.005 + 0.002)
    assert speed.hours == pytest.approx(2 * (10 * step + evaluation) / 3600)


def test_upper_layers_cached_and_not() -> None:
    lora = LoraRecipe(targets=["query", "value"], layers="top-3")
    step, evaluation = 0.3 + 0.5 + 0.5, 20 * (2 * 0.005 + 0.002)
    speed = speed_of(MEASURED, ROBERTA, lora, WORK)
    assert speed.samples_per_s == pytest.approx(10 / step)
    assert speed.prefix_s == pytest.approx(120 * 9 * 0.005)
    assert speed.hours == pytest.approx((speed.prefix_s + 2 * (10 * step + evaluation)) / 3600)
    slow = speed_of(MEASURED, ROBERTA, lora, WORK, cached=False)
    assert slow.samples_per_s == pytest.approx(10 / (step + 10 * 9 * 0.005))
    assert slow.prefix_s == 0


def test_every_window_of_a_text_is_counted() -> None:
    lora = LoraRecipe(targets=["query", "value"], layers="top-3")
    work = replace(WORK, tokens=4 * 53.0, windows=4.0)
    step, evaluation = 0.1 + 0.2 + 0.4 + 4 * 10 * 0.06, 4 * 20 * (2 * 0.005 + 0.002)
    speed = speed_of(MEASURED, ROBERTA, lora, work)
    assert speed.samples_per_s == pytest.approx(10 / step)
    assert speed.prefix_s == pytest.approx(4 * 120 * 9 * 0.005)
    assert speed.hours == pytest.approx((speed.prefix_s + 2 * (10 * step + evaluation)) / 3600)


def test_the_last_layer_alone_and_targets_between_the_measured_ones() -> None:
    only = LoraRecipe(targets=["all-linear"], layers="top-1")
    assert speed_of(MEASURED, ROBERTA, only, WORK).samples_per_s == pytest.approx(10 / 0.7)
    half = MEASURED.at((QUERY_VALUE + ALL_LINEAR) // 2)
    assert half.lowest.per_text == pytest.approx(0.03) and half.lowest.fixed == pytest.approx(0.1)
    assert MEASURED.at(1).between == NARROW.between, "below the measured widths: the narrowest"


def test_speeds_in_the_table_and_the_json() -> None:
    plans = best_plans(ROBERTA, 4, 1_000_000, top=2)
    speeds = [Speed(123.4, 1.25, 36.0), Speed(2.5, 80.0, 0.0)]
    facts = {
        "seconds": 2.1,
        "threads": 2,
        "device": "cpu",
        "execution": "packed-avx2",
        "precision": "float32",
    }
    measured = facts | {"workload": WORK.to_json()}
    result = PlanResult("roberta-base", 4, 1_000_000, None, plans, ROBERTA, speeds=speeds, measured=measured)
    rows = result.render().splitlines()
    assert rows[1].split()[-3:] == ["texts/s", "hours", "prefix"]
    assert rows[2].split()[-3:] == ["123", "1.25", "0.01"]
    assert rows[4].split()[-3:] == ["2.5", "80.0", "0.00"]
    assert "2 epochs of 100 texts of 53 tokens in batches of 10 (here)" in rows[-1]
    as_json = result.to_json()
    assert [entry["speed"]["samples_per_s"] for entry in as_json["plans"]] == [123.4, 2.5]
    assert as_json["measured"]["workload"]["rows"] == 100
    assert "speed" not in PlanResult("roberta-base", 4, 1_000_000, None, plans).to_json()["plans"][0]
