"""Tests of budget/planner.py: what is proposed fits, fills the budget, is ranked as told, and can be set."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.budget.cost import operations_per_token
from submillion.budget.count import count
from submillion.budget.planner import Plan, nearest, plan
from submillion.errors import BadInput, OverBudget
from submillion.families.families import family_of
from submillion.recipe import HeadRecipe, LoraRecipe, Recipe
from support.budget_models import LAYOUTS, REAL, head_sections, lora_sections, small_configs
from support.tiny import tiny_config

ROBERTA = REAL["roberta-base"]
MILLION = 1_000_000
AS_WRITTEN = LoraRecipe(r=16, alpha=32, targets=["query", "value"])


def adapted(plan: Plan) -> int:
    return sum("lora" in part for layer in plan.count.by_layer for part in layer["parts"])


def in_encoder(plan: Plan) -> int:
    return sum(size for part, size in plan.count.parts.items() if part.startswith("lora."))


def place(config: dict[str, Any], plan: Plan) -> tuple[int, int, int, int]:
    cost = operations_per_token(config, plan.lora)
    return -adapted(plan), -in_encoder(plan), -plan.count.trainable, cost


def test_the_best_for_roberta_base_is_every_matrix_and_a_linear_head() -> None:
    plans = plan(ROBERTA, 4, MILLION)
    best = plans[0]
    assert (best.lora.r, best.lora.targets, best.lora.layers) == (6, ["all-linear"], "all")
    assert (best.head.kind, best.count.trainable) == ("linear", 998_404)
    assert len(plans) == 12
    stock = next(entry for entry in plans if entry.head.kind == "stock" and entry.lora.layers == "all")
    assert plans.index(stock) > plans.index(best)
    assert best.reason == (
        "Adapters of r 6 on all 72 matrices of the encoder, no plan reaches more; "
        "the linear head takes 3,076 (0.3% of the budget)."
    )
    assert any("layers 0 to 5 need no gradient and can run once per text" in entry.reason for entry in plans)
    assert all(entry.reason.endswith(".") and ". " not in entry.reason for entry in plans)


@pytest.mark.parametrize("name", list(LAYOUTS))
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_plan_fits_is_full_and_stands_where_its_rank_is(name: str, data: st.DataObject) -> None:
    config = data.draw(small_configs(name))
    budget = data.draw(st.integers(700, 30_000))
    hidden = family_of(config).inventory(config, 2).hidden
    try:
        plans = plan(config, 3, budget, top=1000)
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


def test_reasons_tell_how_a_plan_differs_from_the_one_above() -> None:
    plans = plan(ROBERTA, 4, MILLION, top=60)
    for above, entry in pairwise(plans):
        if adapted(entry) < adapted(above):
            assert "fewer than above" in entry.reason
        elif in_encoder(entry) < in_encoder(above):
            assert f"as many as above with fewer parameters, {in_encoder(entry):,};" in entry.reason
        elif entry.count.trainable < above.count.trainable:
            assert "as many as above with as many parameters, beside a smaller head" in entry.reason
        else:
            assert "as many as above with as many parameters, and no cheaper" in entry.reason
            assert entry.cost_per_token >= above.cost_per_token


def test_settings_give_the_plan_again_through_a_recipe() -> None:
    for entry in [*plan(ROBERTA, 4, MILLION), *nearest(ROBERTA, 4, AS_WRITTEN, HeadRecipe(), MILLION)]:
        recipe = Recipe.load("agnews", entry.settings)
        counted = count(ROBERTA, 4, recipe.lora, recipe.head, MILLION)
        assert counted == entry.count
        assert (recipe.lora.r, recipe.lora.alpha) == (entry.lora.r, 2 * entry.lora.r)
        assert recipe.head == entry.head


def test_json_has_the_configuration_its_count_and_its_cost() -> None:
    told = plan(ROBERTA, 4, MILLION)[1].to_json()
    assert told["head"] == "lora"
    assert told["head_r"] == 16
    assert told["trainable"] == 12 * 13_824 * told["r"] + 16 * 1_536 + 3_076
    assert told["parts"]["head.lora"] == 24_576
    assert told["fits"] is True
    assert {
        "alpha",
        "targets",
        "layers",
        "cost_per_token",
        "cost_cached",
        "reason",
        "settings",
    } <= told.keys()
    assert "by_layer" not in told


def test_modernbert_is_planned_with_its_fused_matrix() -> None:
    plans = plan(REAL["ModernBERT-base"], 4, MILLION, top=1000)
    named = {target for entry in plans for target in entry.lora.targets}
    assert named == {"all-linear", "qkv", "attention_output", "ffn_up", "ffn_down"}
    # 22 layers x (768 + 2,304 + 768 + 768 + 768 + 2,304 + 1,152 + 768) x r 4 = 844,800, and a head of
    # 16 x (768 + 768) + 3,076 or of 3,076: r 5 fits with neither.
    assert [entry.lora.r for entry in plans[:2]] == [4, 4]
    assert [entry.count.trainable for entry in plans[:2]] == [872_452, 847_876]


def test_ranks_stop_at_the_hidden_size() -> None:
    plans = plan(tiny_config("roberta", layers=2, hidden=16), 3, MILLION)
    assert {entry.lora.r for entry in plans} == {16}
    assert {entry.head.r for entry in plans if entry.head.kind == "lora"} == {16}


def test_nothing_fits() -> None:
    # The least: one 768 x 768 matrix at r 1, 1,536, and the linear head, 3,076.
    with pytest.raises(OverBudget, match="the smallest trains 4,612 parameters, the budget is 4,611"):
        plan(ROBERTA, 4, 4_611)
    assert plan(ROBERTA, 4, 4_612)[0].count.trainable == 4_612
    assert nearest(ROBERTA, 4, AS_WRITTEN, HeadRecipe(), 4_611) == []


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(BadInput, match="model_type: expected one of roberta"):
        plan({"model_type": "t5"}, 4, MILLION)


def test_nearest_to_the_reference_as_written() -> None:
    found = nearest(ROBERTA, 4, AS_WRITTEN, HeadRecipe(), MILLION)
    told = {entry.reason: entry.count.trainable for entry in found}
    assert told == {
        "As asked, with --set lora.r=11 --set lora.alpha=22.": 999_172,
        "As asked, with --set lora.layers=top-8.": 986_884,
        "As asked, with --set lora.r=8 --set lora.alpha=16.": 888_580,
        "As asked, with --set lora.targets=value.": 888_580,
        "As asked, with --set head.kind=lora --set head.r=16.": 617_476,
        "As asked, with --set head.kind=linear.": 592_900,
    }
    assert [entry.count.trainable for entry in found] == sorted(told.values(), reverse=True)


@pytest.mark.parametrize("name", list(LAYOUTS))
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_nearest_fits_and_its_reason_is_its_recipe(name: str, data: st.DataObject) -> None:
    config = data.draw(small_configs(name))
    family = family_of(config)
    hidden, n_layers = family.inventory(config, 2).hidden, family.n_layers(config)
    lora, head = data.draw(lora_sections(name, n_layers, hidden)), data.draw(head_sections(hidden))
    asked = count(config, 3, lora, head, 1)
    budget = data.draw(st.integers(1, asked.trainable - 1))
    for entry in nearest(config, 3, lora, head, budget):
        assert entry.count == count(config, 3, entry.lora, entry.head, budget)
        assert entry.count.fits
        changes = re.findall(r"--set (\S+?)\.?(?= --set|$)", entry.reason)
        if changes:
            base = [f"lora.{key}={_text(value)}" for key, value in lora.model_dump().items()]
            base += [f"head.{key}={value}" for key, value in head.model_dump().items()]
            recipe = Recipe.load("agnews", base + changes)
            assert count(config, 3, recipe.lora, recipe.head, budget).trainable == entry.count.trainable


def _text(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def test_nearest_keeps_the_scale_and_everything_not_asked_to_change() -> None:
    asked = AS_WRITTEN.model_copy(update={"dropout": 0.25, "rslora": True})
    lower = next(entry for entry in nearest(ROBERTA, 4, asked, HeadRecipe(), MILLION) if entry.lora.r == 8)
    assert lower.lora == asked.model_copy(update={"r": 8, "alpha": 16.0})
    assert lower.head == HeadRecipe()


def test_nearest_changes_two_things_only_where_one_is_not_enough() -> None:
    found = nearest(ROBERTA, 4, AS_WRITTEN, HeadRecipe(), 300_000)
    # 24 matrices x 1,536 x r 8 + 3,076 and x r 7 + 27,652.
    assert {entry.head.kind: entry.count.trainable for entry in found} == {"linear": 297_988, "lora": 285_700}
    assert found[0].reason == "As asked, with --set lora.r=8 --set lora.alpha=16 --set head.kind=linear."


def test_nearest_falls_back_to_the_best_plans() -> None:
    found = nearest(ROBERTA, 4, AS_WRITTEN, HeadRecipe(), 20_000)
    assert [entry.settings for entry in found] == [
        entry.settings for entry in plan(ROBERTA, 4, 20_000, top=3)
    ]


@pytest.mark.parametrize(
    ("lora", "head", "budget", "reason"),
    [
        # A low-rank head of r 64 takes 98,304; at r 32 it takes 49,152.
        ({"r": 8}, {"kind": "lora", "r": 64}, 360_000, "--set head.r=32."),
        ({"r": 8, "bias": "all"}, {"kind": "linear"}, 298_000, "--set lora.bias=none."),
        ({"r": 8, "layers": [0, 2, 5]}, {"kind": "linear"}, 60_000, "--set lora.layers=[2,5]."),
        ({"r": 8, "layers": [3, 10, 11]}, {"kind": "linear"}, 60_000, "--set lora.layers=top-2."),
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
    found = nearest(ROBERTA, 4, *sections, budget)
    assert any(reason in entry.reason for entry in found), [entry.reason for entry in found]
