"""Tests of budget/plan_result.py: the public function `plan`, and the printed result of the command."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from submillion.budget.count import count
from submillion.budget.plan_result import plan, plan_or_count
from submillion.budget.planner import best_plans
from submillion.errors import BadInput, OverBudget
from submillion.recipe import Recipe
from support.budget_models import REAL

ROBERTA = REAL["roberta-base"]


def test_plan_returns_the_best_plans_of_a_catalog_encoder() -> None:
    plans = plan("roberta-base", n_classes=4)
    assert plans == best_plans(ROBERTA, 4, 1_000_000)
    assert plan("roberta-base", 4, budget=600_000, top=3) == best_plans(ROBERTA, 4, 600_000, top=3)


def test_a_plan_prints_in_one_line() -> None:
    first, second = plan("roberta-base", n_classes=4, top=2)
    assert str(first) == (
        "998,404 trainable (99.8% of 1,000,000): r 6, targets all-linear, layers all, head linear"
    )
    assert repr(second) == (
        "<Plan 857,092 trainable (85.7% of 1,000,000): r 5, targets all-linear, layers all, head lora r 16>"
    )


def test_the_settings_of_a_plan_apply_to_a_recipe() -> None:
    best = plan("roberta-base", n_classes=4)[0]
    recipe = Recipe.load("agnews-reference", best.settings)
    assert count(ROBERTA, 4, recipe.lora, recipe.head, 1_000_000).trainable == best.trainable


def test_plan_refuses_an_impossible_budget_and_an_unknown_encoder() -> None:
    with pytest.raises(OverBudget, match="the smallest trains 4,612 parameters, the budget is 100"):
        plan("roberta-base", n_classes=4, budget=100)
    with pytest.raises(BadInput, match="at least 2 classes, found 1"):
        plan("roberta-base", n_classes=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_classes": "4"}, "`n_classes`: expected a whole number from 1 on, found '4'."),
        ({"budget": 1e6}, "`budget`: expected a whole number from 1 on, found 1000000.0."),
        ({"top": -1}, "`top`: expected a whole number from 1 on, found -1."),
        ({"encoder": None, "top": None}, "`encoder`: expected a catalog name, hub id or folder, found None."),
    ],
)
def test_an_argument_of_another_type_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as error:
        plan(**{"encoder": "roberta-base", "n_classes": 4} | arguments)
    assert str(error.value).startswith(message)


def test_plan_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom submillion.budget.plan_result import plan\nplan('roberta-base', 4)\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    completed = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert completed.returncode == 0, completed.stderr


def test_a_count_over_the_budget_is_printed_with_the_nearest_plans() -> None:
    result = plan_or_count(None, "roberta-base", 4, None, {"r": 16, "targets": "query,value"}, [])
    lines = result.render().splitlines()
    assert lines[0] == "roberta-base, 4 labels, budget 1,000,000 trainable parameters"
    assert "budget             1,000,000  over by 183,492" in lines
    assert lines.count("Nearest that fit:") == 1
    assert not result.fits


def test_a_count_without_a_fitting_plan_says_so() -> None:
    result = plan_or_count(None, "roberta-base", 4, 3_500, {"r": 16}, [])
    last = result.render().splitlines()[-1]
    assert last == "Nothing fits: even r 1 on one matrix of one layer with a linear head is over the budget."
