"""Tests of model/build.py: the trained parameters are those counted, and the seed determines every value."""

from __future__ import annotations

import pytest
import torch

from submillion.budget.count import count
from submillion.errors import BadInput
from submillion.families.families import family_of
from submillion.model import build as module_under_test
from submillion.model.build import build
from submillion.model.classifier import Classifier
from support.tiny import FAMILY_NAMES, LABELS, shared_encoder, tiny_config, tiny_recipe

HEADS = ("stock", "linear", "lora")


def made(family: str, **sections: object) -> Classifier:
    folder = shared_encoder(family, layers=3)
    return build(folder, LABELS, tiny_recipe(folder, **sections))


def trained_names(classifier: Classifier) -> set[str]:
    return {name for name, value in classifier.module.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("kind", HEADS)
def test_the_trained_parameters_are_those_counted(family: str, kind: str) -> None:
    for lora in (
        {"bias": "none"},
        {"bias": "all", "targets": ["attention_output"], "layers": [0, 2]},
        {"bias": "lora_only", "targets": ["ffn_down", "attention_output"], "layers": "top-2", "r": 5},
    ):
        recipe = tiny_recipe(shared_encoder(family, layers=3), lora=lora, head={"kind": kind})
        built = build(shared_encoder(family, layers=3), LABELS, recipe)
        counted = count(built.config, len(LABELS), recipe.lora, recipe.head, recipe.budget)
        assert built.trainable_count() == counted.trainable > 0, (lora, counted.parts)


def test_a_wrong_count_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_more(config: object, num_labels: int, *rest: object) -> object:
        return count(config, num_labels + 1, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module_under_test, "count", one_more)
    with pytest.raises(RuntimeError, match="trains 1,572 parameters, but 1,605 were counted: {'lora.q"):
        made("roberta", lora={"targets": ["query"]})


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_exactly_the_modules_of_the_recipe_have_adapters(family: str) -> None:
    built = made(family, lora={"targets": ["attention_output"], "layers": [1]}, head={"kind": "linear"})
    names = family_of(tiny_config(family))
    place = f"base_model.model.{names.target_module(built.config, 'attention_output', 1)}"
    adapters = {f"{place}.lora_A.default.weight", f"{place}.lora_B.default.weight"}
    rest = trained_names(built) - adapters
    assert adapters <= trained_names(built)
    assert {name.rpartition(".")[2] for name in rest} == {"weight", "bias"}
    assert all(name.startswith(f"base_model.model.{names.output}") for name in rest)
    assert len(rest) == 2


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_all_linear_adapts_neither_embeddings_nor_head(family: str) -> None:
    built = made(family, lora={"targets": "all-linear"}, head={"kind": "linear"})
    names = family_of(tiny_config(family))
    wrapped = {name.partition(".lora_")[0] for name in trained_names(built) if ".lora_" in name}
    assert wrapped == {
        f"base_model.model.{names.target_module(built.config, target, layer)}"
        for target in names.targets
        for layer in range(3)
    }


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("kind", ["linear", "lora"])
def test_a_frozen_projection_is_the_checkpoints_or_the_identity(family: str, kind: str) -> None:
    built = made(family, head={"kind": kind})
    names = family_of(tiny_config(family))
    projection = built.module.get_base_model().get_submodule(names.projection)
    base = getattr(projection, "base_layer", projection)
    assert hasattr(projection, "lora_A") == (kind == "lora")
    assert not any(value.requires_grad for value in base.parameters())
    in_checkpoint = family in ("bert", "modernbert")
    assert torch.equal(base.weight, torch.eye(32)) != in_checkpoint
    if base.bias is not None:
        assert bool(base.bias.any()) == in_checkpoint


def test_the_heads_adapter_has_its_own_rank_and_scale() -> None:
    built = made("roberta", lora={"r": 2, "alpha": 6}, head={"kind": "lora", "r": 5, "alpha": 20})
    model = built.module.get_base_model()
    assert model.classifier.dense.lora_A["default"].weight.shape == (5, 32)
    assert model.classifier.dense.scaling == {"default": 4.0}
    assert model.roberta.encoder.layer[0].attention.self.query.scaling == {"default": 3.0}
    rooted = made("roberta", lora={"r": 4, "alpha": 6, "rslora": True})
    query = rooted.module.get_base_model().roberta.encoder.layer[0].attention.self.query
    assert query.scaling == {"default": 3.0}  # alpha / sqrt(r)


@pytest.mark.parametrize("family", ["roberta", "bert-no-pooler", "distilbert", "deberta-v2", "modernbert"])
def test_only_the_seed_determines_the_values(family: str) -> None:
    torch.manual_seed(1)
    first = made(family, seed=5).state_dict()
    torch.manual_seed(2)
    torch.randn(100)
    before = torch.get_rng_state()
    second = made(family, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    third = made(family, seed=6).state_dict()
    differing = {name for name in first if not torch.equal(first[name], third[name])}
    assert any("lora_A" in name for name in differing)
    assert any("classifier" in name for name in differing)
    assert not any("base_layer" in name or "embeddings" in name for name in differing)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_step_changes_only_trained_parameters(family: str) -> None:
    built = made(family, lora={"layers": "top-2", "bias": "lora_only"}, head={"kind": "lora"})
    before = {name: value.clone() for name, value in built.state_dict().items()}
    optimizer = torch.optim.SGD([v for v in built.parameters() if v.requires_grad], lr=0.1)
    for _ in range(2):  # lora_A has a gradient only once lora_B is no longer zero
        optimizer.zero_grad()
        batch = {"input_ids": torch.tensor([[2, 9, 14, 3]]), "attention_mask": torch.ones(1, 4)}
        torch.nn.functional.cross_entropy(built(batch), torch.tensor([2])).backward()
        optimizer.step()
    moved = {name for name, value in built.state_dict().items() if not torch.equal(value, before[name])}
    trained = {f"module.{name}" for name in trained_names(built)}
    # A key's bias shifts all scores of a query equally, so its gradient is zero except for rounding.
    assert moved <= trained
    assert all(
        "key" in name or name.endswith("k.base_layer.bias") or "k_lin" in name for name in trained - moved
    )


def test_logits_are_float32_under_autocast_too() -> None:
    built = made("roberta").eval()
    batch = {"input_ids": torch.tensor([[2, 9, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert built(batch).dtype == torch.float32


def test_labels_are_written_into_the_models_config() -> None:
    config = made("roberta").module.get_base_model().config
    assert config.id2label == dict(enumerate(LABELS))
    assert config.label2id == {name: index for index, name in enumerate(LABELS)}
    assert config.num_labels == 4


@pytest.mark.parametrize(("family", "longest"), [("roberta", 64), ("mpnet", 64), ("bert", 64)])
def test_a_max_length_beyond_the_encoders_positions_is_rejected(family: str, longest: int) -> None:
    made(family, data={"max_length": longest})
    with pytest.raises(BadInput) as caught:
        made(family, data={"max_length": longest + 1})
    assert str(caught.value) == (
        f"data.max_length: expected at most the {longest} tokens that the encoder has positions for, "
        f"found {longest + 1}. Lower `data.max_length` to {longest}."
    )


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_an_input_of_the_maximum_length_runs(family: str) -> None:
    built = made(family, data={"max_length": 64}).eval()
    batch = {"input_ids": torch.full((1, 64), 9), "attention_mask": torch.ones(1, 64, dtype=torch.long)}
    with torch.no_grad():
        assert built(batch).isfinite().all()
