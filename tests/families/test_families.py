"""Tests of families/: module names, sizes and defaults against the models of transformers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from submillion.errors import BadInput
from submillion.families.families import FAMILIES, family_of
from support.budget_models import LAYOUTS, REAL, meta_model, small_configs
from support.tiny import tiny_config

NAMES = list(FAMILIES)


def numbers(model: Any) -> tuple[int, int]:
    """Return the number of parameters and the number of biases."""
    named = list(model.named_parameters())
    return (
        sum(value.numel() for _, value in named),
        sum(value.numel() for name, value in named if name.endswith("bias")),
    )


def test_supported_families() -> None:
    supported = "roberta xlm-roberta bert distilbert mpnet electra deberta-v2 modernbert"
    assert set(FAMILIES) == set(LAYOUTS) == set(supported.split())


@pytest.mark.parametrize("name", NAMES)
def test_names_are_modules_of_the_built_model_with_these_sizes(name: str) -> None:
    config = tiny_config(name, layers=3, hidden=16)
    family = family_of(config)
    model = meta_model(config, 5)
    matrices = family.matrices(family.values(config))
    assert list(matrices) == list(family.targets)
    for target, matrix in matrices.items():
        for layer in range(3):
            module = model.get_submodule(family.target_module(config, target, layer))
            assert (module.in_features, module.out_features) == (matrix.inputs, matrix.outputs)
            assert (module.bias is not None) == matrix.bias
    assert len(model.get_submodule(family.layers)) == family.n_layers(config) == 3
    assert model.get_submodule(family.output).out_features == 5
    assert model.get_submodule(family.projection).in_features == family.inventory(config, 5).hidden == 16
    assert (family.norm is None) or model.get_submodule(family.norm).weight.shape == (16,)
    assert model.base_model is model.get_submodule(family.base)


@pytest.mark.parametrize("name", NAMES)
def test_the_output_of_the_embedding_modules_enters_the_first_layer(name: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = tiny_config(name, layers=2, hidden=16)
    family = family_of(config)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(**config)).eval()
    outputs: list[Any] = []
    inputs_of_first: list[Any] = []
    last = model.get_submodule(family.embedding_modules(config)[-1])
    last.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    model.get_submodule(f"{family.layers}.0").register_forward_pre_hook(
        lambda _module, inputs, named: inputs_of_first.append(
            inputs[0] if inputs else named["hidden_states"]
        ),
        with_kwargs=True,
    )
    model(input_ids=torch.tensor([[2, 9, 14, 3]]))
    assert torch.equal(outputs[0], inputs_of_first[0])
    assert [model.get_submodule(module) for module in family.embedding_modules(config)]


@pytest.mark.parametrize("name", NAMES)
def test_dropouts_are_keys_of_the_config_and_modules_of_the_model(name: str) -> None:
    import torch
    from transformers import AutoConfig

    family, built = FAMILIES[name], AutoConfig.for_model(name)
    assert all(hasattr(built, key) for key in family.hidden_dropouts + family.attention_dropouts)
    config = tiny_config(name, layers=2, hidden=16)
    model = meta_model(config, 5)
    owner, _, _ = family.output.rpartition(".")
    head_dropout = getattr(model.get_submodule(owner), family.head_dropout)
    assert isinstance(head_dropout, torch.nn.Dropout)
    layer = model.get_submodule(f"{family.layers}.1")  # the lowest of ModernBERT has one norm less
    for norm in family.kernels.norms:
        assert isinstance(layer.get_submodule(norm), torch.nn.LayerNorm)
    for dropout in filter(None, (*family.kernels.output_dropouts, family.kernels.attention_dropout)):
        assert isinstance(layer.get_submodule(dropout), torch.nn.Dropout)
    assert hasattr(built, family.kernels.activation)


@pytest.mark.parametrize(
    ("name", "longest"),
    [("roberta-base", 512), ("bert-base-uncased", 512), ("mpnet-base", 512), ("ModernBERT-base", 8192)],
)
def test_longest_input(name: str, longest: int) -> None:
    assert family_of(REAL[name]).longest_input(REAL[name]) == longest


def test_electra_has_an_embedding_projection_only_if_the_sizes_differ() -> None:
    config = tiny_config("electra", hidden=16)
    assert family_of(config).embedding_modules(config) == ["electra.embeddings", "electra.embeddings_project"]
    assert family_of(config).embedding_modules(config | {"embedding_size": 16}) == ["electra.embeddings"]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate])  # small as drawn
@given(data=st.data())
def test_inventory_equals_the_built_model(name: str, data: st.DataObject) -> None:
    config = data.draw(small_configs(name))
    num_labels = data.draw(st.integers(2, 6))
    everything = family_of(config).inventory(config, num_labels).all
    assert (everything.total, everything.biases) == numbers(meta_model(config, num_labels))


@pytest.mark.parametrize("name", NAMES)
def test_defaults_of_missing_keys_are_those_of_transformers(name: str) -> None:
    from transformers import AutoConfig

    family, built = FAMILIES[name], AutoConfig.for_model(name)
    # DeBERTa's code reads these with defaults of its own; its config class does not have them.
    unknown = {"embedding_size", "position_buckets", "share_att_key", "norm_rel_ebd"}
    unknown |= {"conv_kernel_size", "conv_groups"}
    known = family.defaults.keys() - (unknown if name == "deberta-v2" else set())
    as_wide_as_hidden = {"pooler_hidden_size": built.hidden_size}
    for key in known:
        expected = family.defaults[key]
        assert getattr(built, key) == as_wide_as_hidden.get(key, expected), key
    assert not any(hasattr(built, key) for key in family.defaults.keys() - known)
    layers = "n_layers" if name == "distilbert" else "num_hidden_layers"
    config = {"model_type": name, layers: 1}
    assert family.inventory(config, 3).all.total == numbers(meta_model(config, 3))[0]


@pytest.mark.parametrize(
    ("name", "num_labels", "total"),
    [
        ("roberta-base", 4, 124_648_708),
        ("bert-base-uncased", 2, 109_483_778),
        ("distilbert-base-uncased", 2, 66_955_010),
        ("ModernBERT-base", 2, 149_606_402),
        ("deberta-v3-base", 2, 184_423_682),
        ("all-MiniLM-L6-v2", 8, 22_716_296),
        *((name, 4, None) for name in ("xlm-roberta-base", "mpnet-base")),
        *((f"electra-{size}-discriminator", 4, None) for size in ("small", "base")),
    ],
)
def test_real_sizes(name: str, num_labels: int, total: int | None) -> None:
    everything = family_of(REAL[name]).inventory(REAL[name], num_labels).all
    assert (everything.total, everything.biases) == numbers(meta_model(REAL[name], num_labels))
    assert total is None or everything.total == total


def test_distilbert_accepts_its_own_and_the_common_keys() -> None:
    family = FAMILIES["distilbert"]
    own = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 40}
    common = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_dim": 40}
    assert family.inventory(own, 2) == family.inventory(common, 2)
    # hidden_dim has no common key; of two keys for one size, the common one takes precedence.
    for config in ({"dim": 8, "n_heads": 2, "n_layers": 1, "intermediate_size": 3}, common | {"dim": 64}):
        built = meta_model({"model_type": "distilbert", **config}, 2)
        assert family.inventory(config, 2).all.total == numbers(built)[0]


def test_expand_orders_targets_and_drops_repeated_ones() -> None:
    roberta, modernbert = FAMILIES["roberta"], FAMILIES["modernbert"]
    assert roberta.expand(["value", "query", "value"]) == ["query", "value"]
    assert roberta.expand(["all-linear"]) == list(roberta.targets)
    assert modernbert.expand(["all-linear"]) == ["qkv", "attention_output", "ffn_up", "ffn_down"]


@pytest.mark.parametrize(
    ("name", "targets", "message"),
    [
        ("modernbert", ["query", "value"], "modernbert computes query, key and value with one matrix: qkv."),
        ("roberta", ["qkv"], "found qkv. roberta has separate matrices: query, key, value."),
        ("bert", ["ffn_upp"], "found ffn_upp. Did you mean 'ffn_up'?"),
        ("bert", [], "expected all-linear, or some of query, key, value, attention_output, ffn_up, ffn_down"),
    ],
)
def test_unknown_targets_are_refused_with_a_remedy(name: str, targets: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        FAMILIES[name].expand(targets)


def test_unknown_layers_are_refused() -> None:
    config = tiny_config("roberta", layers=2)
    with pytest.raises(BadInput, match="lora.layers: expected layers from 0 to 1, found 2."):
        family_of(config).target_module(config, "query", 2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "robert"}, "found 'robert'. Did you mean 'roberta'?"),
        ({"model_type": "gpt2"}, "expected one of roberta, xlm-roberta, bert, distilbert, mpnet"),
        ({}, "the encoder's config.json, model_type: expected one of .*, found no model_type."),
        ({"model_type": ["bert"]}, "found \\['bert'\\]"),
    ],
)
def test_unsupported_families_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        family_of(config)


def test_all_invalid_sizes_are_reported_at_once() -> None:
    config = {"model_type": "bert", "hidden_size": 0, "vocab_size": "many", "num_hidden_layers": None}
    with pytest.raises(BadInput) as caught:
        family_of(config).inventory(config, 2)
    assert [str(problem) for problem in caught.value.problems] == [
        "the encoder's config.json, vocab_size: expected a whole number from 1, found 'many'.",
        "the encoder's config.json, hidden_size: expected a whole number from 1, found 0.",
        "the encoder's config.json, num_hidden_layers: expected a whole number from 1, found None.",
    ]


def test_a_boolean_is_not_a_size() -> None:
    with pytest.raises(BadInput, match="hidden_size: expected a whole number from 1, found True"):
        FAMILIES["bert"].values({"hidden_size": True})
