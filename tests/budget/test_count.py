"""Tests of budget/count.py and budget/gate.py: the closed form against plain peft on built models, and refusals."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from submillion.budget.count import ONE_RANK, Count, count
from submillion.budget.gate import gate
from submillion.budget.planner import nearest_plans
from submillion.errors import BadInput, OverBudget
from submillion.families.families import family_of
from submillion.recipe import HeadRecipe, LoraRecipe
from support.budget_models import (
    LAYOUTS,
    REAL,
    head_sections,
    lora_sections,
    meta_model,
    small_configs,
    trainable_and_total,
    with_peft,
)
from support.tiny import tiny_config

ROBERTA = REAL["roberta-base"]
MILLION = 1_000_000


def roberta(r: int, targets: list[str], head: str = "stock", **more: Any) -> Count:
    return count(ROBERTA, 4, LoraRecipe(r=r, targets=targets, **more), HeadRecipe(kind=head), MILLION)


VARIANTS = ("dora", "adalora", "vera", "bitfit")  # pissa and eva train what lora does


def check_on_a_drawn_model(data: st.DataObject, name: str, variant: str) -> None:
    config = data.draw(small_configs(name))
    family = family_of(config)
    hidden, n_layers = family.inventory(config, 2).hidden, family.n_layers(config)
    lora = data.draw(lora_sections(name, n_layers, hidden, variant))
    head = data.draw(head_sections(hidden))
    if variant in ONE_RANK:
        assume(head.kind != "lora")
    if variant == "bitfit":
        assume(any(layer.biases for layer in family.inventory(config, 2).layers))
    num_labels = data.draw(st.integers(2, 6))
    counted = count(config, num_labels, lora, head, MILLION)
    built = with_peft(meta_model(config, num_labels), name, lora, head, lora.layer_indices(n_layers))
    assert (counted.trainable, counted.total) == trainable_and_total(built)
    check_that_layers_and_parts_agree(built, counted, name)


@pytest.mark.parametrize("name", list(LAYOUTS))
@settings(max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate])  # small as drawn
@given(data=st.data())
def test_the_count_equals_that_of_peft_on_the_built_model(name: str, data: st.DataObject) -> None:
    check_on_a_drawn_model(data, name, "lora")


@pytest.mark.parametrize("name", list(LAYOUTS))
@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate])
@given(data=st.data())
def test_the_count_of_every_variant_equals_that_of_peft(variant: str, name: str, data: st.DataObject) -> None:
    check_on_a_drawn_model(data, name, variant)


def check_that_layers_and_parts_agree(built: Any, counted: Count, name: str) -> None:
    """Compare each layer's sum with the built layer's, and the parts of all layers with the parts of the whole."""
    layers = built.base_model.model.get_submodule(LAYOUTS[name].layers)
    in_layers = [trainable_and_total(layer)[0] for layer in layers]
    assert [layer["trainable"] for layer in counted.by_layer] == in_layers
    for part in (part for part in counted.parts if part.startswith("lora.")):
        assert counted.parts[part] == sum(layer["parts"].get(part, 0) for layer in counted.by_layer)
    assert min(counted.parts.values()) > 0


@pytest.mark.parametrize("name", list(REAL))
@pytest.mark.parametrize("kind", ["stock", "linear", "lora"])
def test_the_count_at_real_sizes_equals_that_of_peft_on_the_meta_device(name: str, kind: str) -> None:
    config = REAL[name]
    lora = LoraRecipe(r=7, targets=["all-linear"], layers="top-5", bias="all")
    head = HeadRecipe(kind=kind, r=9)
    layers = lora.layer_indices(family_of(config).n_layers(config))
    counted = count(config, 4, lora, head, MILLION)
    built = with_peft(meta_model(config, 4), config["model_type"], lora, head, layers)
    assert (counted.trainable, counted.total) == trainable_and_total(built)


def test_known_counts_of_roberta_base() -> None:
    assert roberta(16, ["query"]).trainable == 888_580
    assert roberta(8, ["query", "value"]).trainable == 888_580
    assert roberta(16, ["query", "value"]).trainable == 1_183_492
    assert roberta(4, ["query", "key", "value"]).trainable == 814_852
    assert roberta(22, ["value"]).trainable == 999_172
    assert roberta(6, ["all-linear"], "linear").trainable == 998_404
    assert roberta(1, ["all-linear"], "linear").trainable - 3_076 == 165_888


def test_the_head_is_counted_once() -> None:
    counted = roberta(16, ["query"])
    assert counted.parts == {"lora.query": 294_912, "head.projection": 590_592, "head.output": 3_076}
    assert counted.total == 124_648_708 + 294_912
    built = with_peft(
        meta_model(ROBERTA, 4), "roberta", LoraRecipe(r=16, targets=["query"]), HeadRecipe(), [*range(12)]
    )
    assert built.get_nb_trainable_parameters() == (888_580, 125_537_288)  # peft's sum has the head twice
    assert counted.total == 125_537_288 - 593_668


def test_biases_of_a_trained_head_are_counted_once() -> None:
    # roberta-base: per layer 4 x 768 + 3,072 + 768 of matrices and 2 x 768 of norms, 768 of the embeddings' norm.
    biases = 12 * (4 * 768 + 3_072 + 768 + 2 * 768) + 768
    assert roberta(1, ["query"], bias="all").parts["bias"] == biases
    assert roberta(1, ["query"], "linear", bias="all").parts["bias"] == biases + 768
    assert roberta(1, ["query", "ffn_up"], bias="lora_only").parts["bias"] == 12 * (768 + 3_072)
    assert roberta(1, ["query"], "lora", bias="lora_only").parts["bias"] == 12 * 768 + 768
    assert "bias" not in roberta(1, ["query"]).parts


def test_modernbert_has_a_norm_in_its_head_and_no_biases() -> None:
    counted = count(
        REAL["ModernBERT-base"], 4, LoraRecipe(r=2, targets=["qkv"], bias="all"), HeadRecipe(), MILLION
    )
    assert counted.parts == {
        "lora.qkv": 22 * 2 * (768 + 2_304),
        "head.projection": 768 * 768,
        "head.norm": 768,
        "head.output": 3_076,
    }


def test_keys_of_the_json() -> None:
    as_json = roberta(8, ["query"], layers="top-2").to_json()
    assert list(as_json) == ["trainable", "total", "parts", "budget", "fits", "by_layer"]
    assert as_json["fits"] is True
    assert as_json["budget"] == MILLION
    assert [layer["trainable"] for layer in as_json["by_layer"]] == [0] * 10 + [12_288] * 2
    assert as_json["by_layer"][11] == {"layer": 11, "trainable": 12_288, "parts": {"lora.query": 12_288}}


def test_known_counts_of_the_variants() -> None:
    # roberta-base, query and value of 12 layers, linear head 3,076; LoRA at r 8 has 24 x 8 x 1,536 = 294,912.
    def trained(variant: str, r: int = 8) -> int:
        return roberta(r, ["query", "value"], "linear", variant=variant).trainable - 3_076

    assert trained("lora") == trained("pissa") == trained("eva") == 294_912
    assert trained("dora") == 294_912 + 24 * 768
    assert trained("adalora") == 294_912 + 24 * 8
    assert trained("vera", 1_024) == 24 * (768 + 1_024)  # the paper's roberta-base: 43 thousand (table 2)
    assert trained("bitfit") == 12 * (4 * 768 + 3_072 + 768 + 2 * 768) + 768 + 768


@pytest.mark.parametrize("variant", [*VARIANTS, "lora", "pissa", "eva"])
@pytest.mark.parametrize("head", ["stock", "linear", "lora"])
def test_the_arithmetic_evaluates_to_the_parts(head: str, variant: str) -> None:
    if head == "lora" and variant in ONE_RANK:
        return
    counted = roberta(5, ["all-linear"], head, layers="top-3", variant=variant)
    for part, arithmetic in counted.arithmetic.items():
        if part == "bias":
            continue
        expression = re.sub(r"layers|r (?=\d)|,", "", arithmetic).replace("x", "*")
        assert eval(expression, {"__builtins__": {}}) == counted.parts[part], arithmetic
    assert counted.arithmetic.keys() == counted.parts.keys()


def test_a_count_equal_to_the_budget_fits_and_one_more_does_not() -> None:
    exact = count(ROBERTA, 4, LoraRecipe(r=16, targets=["query"]), HeadRecipe(), 888_580)
    assert exact.fits
    assert not count(ROBERTA, 4, LoraRecipe(r=16, targets=["query"]), HeadRecipe(), 888_579).fits


def test_the_gate_accepts_a_configuration_within_the_budget() -> None:
    lora, head = LoraRecipe(r=16, targets=["query"]), HeadRecipe()
    gate(count(ROBERTA, 4, lora, head, 888_580), ROBERTA, 4, lora, head)


def test_the_gate_shows_the_count_and_the_nearest_plans() -> None:
    lora, head = LoraRecipe(r=16, alpha=32, targets=["query", "value"]), HeadRecipe()
    with pytest.raises(OverBudget) as caught:
        gate(count(ROBERTA, 4, lora, head, MILLION), ROBERTA, 4, lora, head)
    assert caught.value.exit_code == 3
    message = re.sub(" +", " ", str(caught.value))
    for line in (
        "over budget: 1,183,492 trainable parameters are 183,492 more than the budget of 1,000,000.",
        " lora.query 294,912 12 layers x r 16 x (768 + 768)",
        " lora.value 294,912 12 layers x r 16 x (768 + 768)",
        " encoder total 589,824",
        " head.projection 590,592 768 x 768 + 768",
        " head.output 3,076 768 x 4 + 4",
        " head total 593,668",
        "trainable 1,183,492 of 125,238,532 in the model (0.94%)",
        "budget 1,000,000 over by 183,492",
        " Your configuration with lora.r=8 and lora.alpha=16.",
        " Your configuration with head.kind=linear.",
        " Your configuration with head.kind=lora and head.r=16.",
    ):
        assert line in message.splitlines(), line


def test_the_gate_says_when_nothing_fits() -> None:
    lora, head = LoraRecipe(r=16), HeadRecipe()
    with pytest.raises(
        OverBudget, match="Nothing fits: even r 1 on one matrix of one layer with a linear head"
    ):
        gate(count(ROBERTA, 4, lora, head, 3_500), ROBERTA, 4, lora, head)


def test_the_gate_says_how_many_classes_fit() -> None:
    lora, head = LoraRecipe(r=1, targets=["query"], layers=[0]), HeadRecipe(kind="linear")
    with pytest.raises(OverBudget, match="This encoder has room for 1,298 classes.* of the 2,000, or take"):
        gate(count(ROBERTA, 2_000, lora, head, 1_000_000), ROBERTA, 2_000, lora, head)
    assert count(ROBERTA, 1_298, lora, head, 1_000_000).fits
    assert not count(ROBERTA, 1_299, lora, head, 1_000_000).fits


@pytest.mark.parametrize(
    ("lora", "head", "labels", "message"),
    [
        ({"r": 0}, {}, 4, "lora.r: expected a rank from 1 to the encoder's hidden size 16, found 0."),
        ({"r": -3}, {}, 4, "lora.r: expected a rank from 1 to the encoder's hidden size 16, found -3."),
        ({"r": 17}, {}, 4, "lora.r: expected a rank from 1 to the encoder's hidden size 16, found 17."),
        ({}, {"kind": "lora", "r": 99}, 4, "head.r: expected a rank from 1 to .* 16, found 99."),
        ({}, {}, 1, "labels: expected at least 2 classes, found 1."),
        ({"targets": ["qkv"]}, {}, 4, "lora.targets: expected .* found qkv."),
        ({"layers": "top-3"}, {}, 4, "lora.layers: expected layers among the encoder's 2 .* found 'top-3'."),
        (
            {"variant": "pissa", "r": 9, "targets": ["ffn_down"]},
            {},
            4,
            "lora.r: expected a rank from 1 to 8, the smallest side of an adapted matrix, found 9.",
        ),
        ({"variant": "eva", "r": 0}, {}, 4, "lora.r: expected a rank from 1 to .* 16, found 0."),
        (
            {"variant": "vera"},
            {"kind": "lora"},
            4,
            "head.kind: expected stock or linear, found lora, and vera uses",
        ),
        ({"layers": [2]}, {}, 4, "lora.layers: expected layers among the encoder's 2 .* found \\[2\\]."),
    ],
)
def test_a_configuration_that_does_not_fit_the_encoder_is_refused(
    lora: dict[str, Any], head: dict[str, Any], labels: int, message: str
) -> None:
    # model_copy skips the recipe's validation: `count` must check for itself.
    sections = LoraRecipe().model_copy(update=lora), HeadRecipe().model_copy(update=head)
    with pytest.raises(BadInput, match=message):
        config = tiny_config("roberta", layers=2, hidden=16) | {"intermediate_size": 8}
        count(config, labels, *sections, MILLION)


def test_bitfit_needs_biases_and_vera_allows_any_rank() -> None:
    bare = tiny_config("modernbert", layers=2, hidden=16)
    with pytest.raises(
        BadInput, match="lora.variant: expected a variant with adapters, found bitfit, and the layers of"
    ):
        count(bare, 2, LoraRecipe(variant="bitfit"), HeadRecipe(), MILLION)
    wide = LoraRecipe(variant="vera", r=999, targets=["query"])
    counted = count(tiny_config("roberta", layers=2, hidden=16), 2, wide, HeadRecipe(kind="linear"), MILLION)
    assert counted.parts["lora.query"] == 2 * (999 + 16)


@pytest.mark.parametrize("variant", ["dora", "pissa", "eva", "adalora", "vera", "bitfit"])
def test_a_refused_variant_gets_plans_of_the_same_variant(variant: str) -> None:
    lora = LoraRecipe(variant=variant, r=16, targets=["all-linear"])
    counted = count(ROBERTA, 4, lora, HeadRecipe(), 500_000)
    with pytest.raises(OverBudget, match="over budget: ") as caught:
        gate(counted, ROBERTA, 4, lora, HeadRecipe())
    assert "Your configuration with " in str(caught.value)
    assert "lora.variant" not in str(caught.value)
    for entry in nearest_plans(ROBERTA, 4, lora, HeadRecipe(), 500_000):
        assert entry.lora.variant == variant
        assert (
            entry.count.trainable == count(ROBERTA, 4, entry.lora, entry.head, 500_000).trainable <= 500_000
        )


def test_the_head_rank_is_ignored_if_the_head_has_no_adapter() -> None:
    config = tiny_config("roberta", layers=2, hidden=16)
    assert count(config, 2, LoraRecipe(), HeadRecipe(kind="linear", r=99), MILLION).trainable == 1_058


def test_all_problems_are_reported_at_once() -> None:
    config = tiny_config("roberta", layers=2, hidden=16)
    with pytest.raises(BadInput) as caught:
        count(config, 0, LoraRecipe(r=40), HeadRecipe(kind="lora", r=40), MILLION)
    assert [problem.where for problem in caught.value.problems] == ["lora.r", "head.r", "labels"]
