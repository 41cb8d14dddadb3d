"""Tests of budget/planner.py: every plan fits, fills the budget, has its documented rank and can be applied."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.budget.cost import operations_per_token
from submillion.budget.count import count
from submillion.budget.plan import Plan
from submillion.budget.planner import best_plans, nearest_plans
from submillion.errors import BadInput, OverBudget
from submillion.families.families import family_of
from submillion.recipe import HeadRecipe, LoraRecipe, Recipe
from support.budget_models import LAYOUTS, REAL, head_sections, lora_sections, small_configs
from support.tiny import tiny_config

ROBERTA = REAL["roberta-base"]
MILLION = 1_000_000
CHANGED = "Your configuration with "
AS_WRITTEN = LoraRecipe(r=16, alpha=32, targets=["query", "value"])


def adapted(plan: Plan) -> int:
    return sum("lora" in part for layer in plan.count.by_layer for part in layer["parts"])


def in_encoder(plan: Plan) -> int:
    return sum(size for part, size in plan.count.parts.items() if part.startswith("lora."))


def place(config: dict[str, Any], plan: Plan) -> tuple[int, int, int, int]:
    family = family_of(config)
    cost = operations_per_token(family, family.inventory(config, 2), plan.lora)
    return -adapted(plan), -in_encoder(plan), -plan.count.trainable, cost


def test_the_best_plan_for_roberta_base_adapts_every_matrix_and_has_a_linear_head() -> None:
    plans = best_plans(ROBERTA, 4, MILLION)
    best = plans[0]
    assert (best.lora.r, best.lora.targets, best.lora.layers) == (6, ["all-linear"], "all")
    assert (best.head.kind, best.count.trainable) == ("linear", 998_404)
    assert len(plans) == 12
    stock = next(entry for entry in plans if entry.head.kind == "stock" and entry.lora.layers == "all")
    assert plans.index(stock) > plans.index(best)
    assert best.reason == (
        "Adapters of r 6 on all 72 encoder matrices, the most of any plan; "
        "the linear head takes 3,076 (0.3% of the budget)."
    )
    assert any("layers 0 to 5 need no gradient and can run once per text" in entry.reason for entry in plans)
    assert all(entry.reason.endswith(".") and ". " not in entry.reason for entry in plans)


@pytest.mark.parametrize("name", list(LAYOUTS))
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_plan_fits_fills_the_budget_and_is_ranked_as_documented(name: str, data: st.DataObject) -> None:
    config = data.draw(small_configs(name))
    budget = data.draw(st.integers(700, 30_000))
    hidden = family_of(config).inventory(config, 2).hidden
    try:
        plans = best_plans(config, 3, budget, top=1000)
    except OverBudget:
        least = LoraRecipe(r=1, targets=["attention_output"], layers="top-1")
        assert not count(config, 3, least, HeadRecipe(kind="linear"), budget).fits
        return
    for entry in plans:
        assert entry.count == count(config, 3, entry.lora, entry.head, budget)
        assert entry.count.fits
        more = entry.lora.model_copy(update={"r": entry.lora.r + 1})
        assert entry.lora.r == hidden or not count(config, 3, more, entry.head, budget).fits
        assert 0 < entry.cost_cached <= entry.cost_per_token
    places = [place(config, entry) for entry in plans]
    assert places == sorted(places)
    assert len({tuple(entry.settings) for entry in plans}) == len(plans)


def test_reasons_name_the_difference_from_the_plan_above() -> None:
    plans = best_plans(ROBERTA, 4, MILLION, top=60)
    for above, entry in pairwise(plans):
        if adapted(entry) < adapted(above):
            assert "fewer than the plan above" in entry.reason
        elif in_encoder(entry) < in_encoder(above):
            assert (
                f"as many as the plan above with fewer adapter parameters ({in_encoder(entry):,});"
                in entry.reason
            )
        elif entry.count.trainable < above.count.trainable:
            assert "with as many adapter parameters as the plan above and a smaller head" in entry.reason
        else:
            assert "with as many parameters as the plan above and no cheaper" in entry.reason
            assert entry.cost_per_token >= above.cost_per_token


def test_settings_applied_to_a_recipe_give_the_plan() -> None:
    for entry in [
        *best_plans(ROBERTA, 4, MILLION),
        *nearest_plans(ROBERTA, 4, AS_WRITTEN, HeadRecipe(), MILLION),
    ]:
        recipe = Recipe.load("agnews", entry.settings)
        counted = count(ROBERTA, 4, recipe.lora, recipe.head, MILLION)
        assert counted == entry.count
        assert (recipe.lora.r, recipe.lora.alpha) == (entry.lora.r, 2 * entry.lora.r)
        assert recipe.head == entry.head


def test_json_has_the_configuration_its_count_and_its_cost() -> None:
    as_json = best_plans(ROBERTA, 4, MILLION)[1].to_json()
    assert as_json["head"] == "lora"
    assert as_json["head_r"] == 16
    assert as_json["trainable"] == 12 * 13_824 * as_json["r"] + 16 * 1_536 + 3_076
    assert as_json["parts"]["head.lora"] == 24_576
    assert as_json["fits"] is True
    assert {
        "alpha",
        "targets",
        "layers",
        "cost_per_token",
        "cost_cached",
        "reason",
        "settings",
    } <= as_json.keys()
    assert "by_layer" not in as_json


def test_plans_for_modernbert_use_its_fused_matrix() -> None:
    plans = best_plans(REAL["ModernBERT-base"], 4, MILLION, top=1000)
    named = {target for entry in plans for target in entry.lora.targets}
    assert named == {"all-linear", "qkv", "attention_output", "ffn_up", "ffn_down"}
    # 22 layers x (768 + 2,304 + 768 + 768 + 768 + 2,304 + 1,152 + 768) x r 4 = 844,800, and a head of
    # 16 x (768 + 768) + 3,076 or of 3,076: r 5 fits with neither.
    assert [entry.lora.r for entry in plans[:2]] == [4, 4]
    assert [entry.count.trainable for entry in plans[:2]] == [872_452, 847_876]


def test_ranks_stop_at_the_hidden_size() -> None:
    plans = best_plans(tiny_config("roberta", layers=2, hidden=16), 3, MILLION)
    assert {entry.lora.r for entry in plans} == {16}
    assert {entry.head.r for entry in plans if entry.head.kind == "lora"} == {16}


def test_nothing_fits() -> None:
    # The least: one 768 x 768 matrix at r 1, 1,536, and the linear head, 3,076.
    with pytest.raises(OverBudget, match="the smallest trains 4,612 parameters, the budget is 4,611"):
        best_plans(ROBERTA, 4, 4_611)
    assert best_plans(ROBERTA, 4, 4_612)[0].count.trainable == 4_612
    assert nearest_plans(ROBERTA, 4, AS_WRITTEN, HeadRecipe(), 4_611) == []


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(BadInput, match="model_type: expected one of roberta"):
        best_plans({"model_type": "t5"}, 4, MILLION)


def test_nearest_plans_to_the_reference_as_written() -> None:
    plans = nearest_plans(ROBERTA, 4, AS_WRITTEN, HeadRecipe(), MILLION)
    by_reason = {entry.reason: entry.count.trainable for entry in plans}
    assert by_reason == {
        "Your configuration with lora.r=11 and lora.alpha=22.": 999_172,
        "Your configuration with lora.layers=top-8.": 986_884,
        "Your configuration with lora.r=8 and lora.alpha=16.": 888_580,
        "Your configuration with lora.targets=value.": 888_580,
        "Your configuration with head.kind=lora and head.r=16.": 617_476,
        "Your configuration with head.kind=linear.": 592_900,
    }
    assert [entry.count.trainable for entry in plans] == sorted(by_reason.values(), reverse=True)


@pytest.mark.parametrize("name", list(LAYOUTS))
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_nearest_plans_fit_and_their_reasons_hold_the_changes(name: str, data: st.DataObject) -> None:
    config = data.draw(small_configs(name))
    family = family_of(config)
    hidden, n_layers = family.inventory(config, 2).hidden, family.n_layers(config)
    lora, head = data.draw(lora_sections(name, n_layers, hidden)), data.draw(head_sections(hidden))
    requested = count(config, 3, lora, head, 1)
    budget = data.draw(st.integers(1, requested.trainable - 1))
    for entry in nearest_plans(config, 3, lora, head, budget):
        assert entry.count == count(config, 3, entry.lora, entry.head, budget)
        assert entry.count.fits
        if entry.reason.startswith(CHANGED):
            changes = re.split(", | and ", entry.reason.removeprefix(CHANGED).removesuffix("."))
            base = [f"lora.{key}={_text(value)}" for key, value in lora.model_dump().items()]
            base += [f"head.{key}={value}" for key, value in head.model_dump().items()]
            recipe = Recipe.load("agnews", base + changes)
            assert count(config, 3, recipe.lora, recipe.head, budget).trainable == entry.count.trainable


def _text(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def test_nearest_plans_keep_the_scale_and_all_other_fields() -> None:
    requested = AS_WRITTEN.model_copy(update={"dropout": 0.25, "rslora": True})
    lower = next(
        entry for entry in nearest_plans(ROBERTA, 4, requested, HeadRecipe(), MILLION) if entry.lora.r == 8
    )
    assert lower.lora == requested.model_copy(update={"r": 8, "alpha": 16.0})
    assert lower.head == HeadRecipe()


def test_nearest_plans_change_two_things_only_if_one_is_not_enough() -> None:
    plans = nearest_plans(ROBERTA, 4, AS_WRITTEN, HeadRecipe(), 300_000)
    # 24 matrices x 1,536 x r 8 + 3,076 and x r 7 + 27,652.
    assert {entry.head.kind: entry.count.trainable for entry in plans} == {"linear": 297_988, "lora": 285_700}
    assert plans[0].reason == "Your configuration with lora.r=8, lora.alpha=16 and head.kind=linear."


def test_nearest_plans_fall_back_to_the_best_plans() -> None:
    plans = nearest_plans(ROBERTA, 4, AS_WRITTEN, HeadRecipe(), 20_000)
    assert [entry.settings for entry in plans] == [
        entry.settings for entry in best_plans(ROBERTA, 4, 20_000, top=3)
    ]


@pytest.mark.parametrize(
    ("lora", "head", "budget", "reason"),
    [
        # A low-rank head of r 64 takes 98,304; at r 32 it takes 49,152.
        ({"r": 8}, {"kind": "lora", "r": 64}, 360_000, "with head.r=32."),
        ({"r": 8, "bias": "all"}, {"kind": "linear"}, 298_000, "with lora.bias=none."),
        ({"r": 8, "layers": [0, 2, 5]}, {"kind": "linear"}, 60_000, "with lora.layers=[2,5]."),
        ({"r": 8, "layers": [3, 10, 11]}, {"kind": "linear"}, 60_000, "with lora.layers=top-2."),
        (
            {"r": 8, "targets": ["all-linear"]},
            {"kind": "linear"},
            1_040_000,
            "lora.targets=query,value,ffn_up,ffn_down.",
        ),
    ],
)
def test_each_kind_of_change(lora: dict[str, Any], head: dict[str, Any], budget: int, reason: str) -> None:
    sections = LoraRecipe(**lora), HeadRecipe(**head)
    plans = nearest_plans(ROBERTA, 4, *sections, budget)
    assert any(reason in entry.reason for entry in plans), [entry.reason for entry in plans]
