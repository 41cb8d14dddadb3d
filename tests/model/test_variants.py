"""Tests of model/variants.py and eva.py: initial values follow the papers; `test_plain_peft` reads the files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from submillion.data.batches import collate
from submillion.data.tokens import Tokens
from submillion.errors import BadInput
from submillion.model import eva
from submillion.model.build import build, open_adapter
from submillion.model.classifier import Classifier
from submillion.model.execution.kernel_support import unsupported
from submillion.model.variants import STEPS_UNKNOWN
from submillion.sources.adapter_files import TENSORS
from support.plain_peft import logits_of
from support.tiny import LABELS, shared_encoder, tiny_encoder, tiny_recipe, tiny_texts, tiny_tokens

VARIANTS = ("dora", "pissa", "eva", "adalora", "vera", "bitfit")
QUERY = "base_model.model.roberta.encoder.layer.0.attention.self.query"


def made(variant: str, folder: Path | None = None, **lora: object) -> Classifier:
    folder = folder or shared_encoder("roberta")
    return build(folder, LABELS, tiny_recipe(folder, lora={"variant": variant, **lora})).eval()


@pytest.mark.parametrize("variant", VARIANTS)
def test_before_training_the_logits_are_those_of_the_encoder(variant: str) -> None:
    plain, begun = made("lora"), made(variant)
    torch.testing.assert_close(logits_of(begun), logits_of(plain), atol=2e-6, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_seed_determines_every_value(variant: str) -> None:
    torch.manual_seed(1)
    first = made(variant).state_dict()
    torch.manual_seed(2)
    second = made(variant).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_pissa_starts_with_the_principal_part_of_each_matrix() -> None:
    begun = made("pissa", r=3, alpha=6)
    weight = load_file(shared_encoder("roberta") / "model.safetensors")[
        "roberta.encoder.layer.0.attention.self.query.weight"
    ]
    layer = begun.module.get_base_model().roberta.encoder.layer[0].attention.self.query
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    torch.testing.assert_close(
        layer.base_layer.weight + 2 * b @ a, weight, atol=1e-6, rtol=1e-6
    )  # alpha / r = 2
    # The error of the best approximation of rank 3: the root of the sum of the other singular values' squares.
    least = torch.linalg.svdvals(weight)[3:].square().sum().sqrt()
    assert least <= layer.base_layer.weight.norm() < 1.005 * least
    torch.testing.assert_close(
        a @ a.T, b.T @ b, atol=1e-4, rtol=1e-4
    )  # the singular values, shared between the two
    assert not layer.base_layer.weight.requires_grad
    with pytest.raises(BadInput, match="expected a classifier without PiSSA, found one with"):
        begun.load_adapter(Path("anywhere"))


def test_a_checkpoint_that_lacks_a_matrix_of_a_layer_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(shared_encoder("roberta"), folder)
    weights = load_file(folder / "model.safetensors")
    del weights["roberta.encoder.layer.0.attention.self.query.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match="a checkpoint that lacks 1 of its 37 tensors"):
        made("pissa", folder)


def test_vera_saves_its_random_matrices(tmp_path: Path) -> None:
    made("vera", r=5).save_adapter(tmp_path)
    tensors = load_file(tmp_path / TENSORS)
    assert tensors["base_model.vera_A"].shape == (5, 64)  # of the widest input and output
    assert tensors["base_model.vera_B"].shape == (64, 5)
    assert tensors[f"{QUERY}.vera_lambda_d"].shape == (5,)
    assert tensors[f"{QUERY}.vera_lambda_b"].shape == (32,)


def test_adalora_starts_with_one_and_a_half_times_its_final_rank() -> None:
    config = made("adalora", r=12).module.peft_config["default"]
    assert (config.init_r, config.target_r, config.total_step) == (12, 8, STEPS_UNKNOWN)


# -- EVA ------------------------------------------------------------------------------------------------------


def texts() -> Tokens:
    return tiny_tokens(shared_encoder("roberta"), tiny_texts(60, 4)[0])


def inputs_of(classifier: Classifier, tokens: Tokens, name: str) -> np.ndarray:
    """Return the inputs of a matrix without padding, float64 [T, I]."""
    batch, inputs_of = collate(tokens, np.arange(len(tokens)), classifier.pad_id), []
    module = classifier.module.get_base_model().get_submodule(name)
    handle = module.register_forward_pre_hook(lambda _, inputs: inputs_of.append(inputs[0]))
    with torch.no_grad():
        classifier(batch)
    handle.remove()
    return inputs_of[0][batch["attention_mask"].bool()].double().numpy()


def test_eva_starts_with_the_principal_directions_of_the_inputs() -> None:
    classifier, tokens = made("eva", r=4), texts()
    initial = made("eva", r=4).state_dict()
    before = logits_of(classifier)
    eva.start(classifier, tokens, seed=1)
    assert torch.equal(logits_of(classifier), before)
    for name in ("attention.self.query", "attention.output.dense", "output.dense"):
        place = f"roberta.encoder.layer.1.{name}"
        a = (
            classifier.module.get_base_model()
            .get_submodule(place)
            .lora_A["default"]
            .weight.detach()
            .double()
            .numpy()
        )
        states = inputs_of(classifier, tokens, place)
        _, _, right = np.linalg.svd(states - states.mean(axis=0), full_matrices=False)
        np.testing.assert_allclose(a @ a.T, np.eye(4), atol=1e-5)
        # Signs are arbitrary: each direction is the exact one or its opposite.
        np.testing.assert_allclose(np.abs((a * right[:4]).sum(axis=1)), 1, atol=2e-3)
    after = classifier.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, initial[name])}
    assert moved == {name for name in after if ".lora_A." in name and ".encoder.layer." in name}


def test_eva_agrees_with_peft() -> None:
    from peft import LoraConfig
    from peft.tuners.lora.eva import get_eva_state_dict
    from transformers import AutoModelForSequenceClassification

    classifier, tokens = made("eva", r=2), texts()
    eva.start(classifier, tokens, seed=1)
    model = AutoModelForSequenceClassification.from_pretrained(shared_encoder("roberta"), num_labels=4)
    module = "roberta.encoder.layer.0.intermediate.dense"
    config = LoraConfig(r=2, target_modules=[module], init_lora_weights="eva")
    config.eva_config.rho = 1.0
    batch = collate(tokens, np.arange(len(tokens)), classifier.pad_id)
    peers = get_eva_state_dict(model, [batch], config, show_progress_bar=False)[module]
    a = classifier.module.get_base_model().get_submodule(module).lora_A["default"].weight
    # The cosines of the angles between the two spaces.
    assert torch.linalg.svdvals(a.detach().double() @ peers.double().T).min() > 0.999


def test_texts_and_seed_determine_eva() -> None:
    one, other, third = (made("eva") for _ in range(3))
    torch.manual_seed(5)
    eva.start(one, texts(), seed=1)
    torch.manual_seed(6)
    state = torch.get_rng_state()
    eva.start(other, texts(), seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    eva.start(third, texts().take(np.arange(30)), seed=1)
    values, others, thirds = (model.state_dict() for model in (one, other, third))
    assert all(torch.equal(value, others[name]) for name, value in values.items())
    assert any(not torch.equal(value, thirds[name]) for name, value in values.items())


def test_eva_samples_long_data_and_rejects_too_few_tokens() -> None:
    lengths = np.full(1000, 100)
    rows = eva._sample(lengths, 3)
    assert len(rows) == eva.TOKENS // 100 == len(set(rows.tolist()))
    assert len(eva._sample(np.array([eva.TOKENS + 1]), 3)) == 1
    with pytest.raises(
        BadInput, match=r"lora\.variant eva: expected more than lora\.r = 30 tokens, found \d+ tok"
    ):
        eva.start(made("eva", r=30), texts().take(np.arange(2)), seed=1)


# -- the packed execution -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("dora", None),
        ("adalora", "an adapter is not LoRA"),
        ("vera", "an adapter is not LoRA"),
        ("bitfit", "the embeddings have trained parameters"),
        ("pissa", None),
        ("eva", None),
    ],
)
def test_the_kernels_run_lora_and_dora_and_give_the_reason_against_other_variants(
    variant: str, reason: str | None, tmp_path: Path
) -> None:
    folder = tiny_encoder(tmp_path / "encoder", hidden=64)
    classifier = made(variant, folder)
    assert unsupported(classifier) == reason
    classifier.save_adapter(tmp_path / "adapter")
    assert unsupported(open_adapter(folder, tmp_path / "adapter", LABELS)) == reason
