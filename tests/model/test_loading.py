"""Tests of model/loading.py: dropouts reach their modules, and files of another encoder are rejected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from submillion import notices
from submillion.errors import BadInput
from submillion.families.families import family_of
from submillion.model.classifier import build, open_adapter
from submillion.model.loading import Loaded, load_encoder
from submillion.recipe import EncoderRecipe
from support.tiny import FAMILY_NAMES, LABELS, shared_encoder, tiny_encoder, tiny_recipe


def load(folder: Path, **dropouts: float) -> Loaded:
    return load_encoder(folder, LABELS, "here", EncoderRecipe(source="here", **dropouts))


def rates(loaded: Loaded) -> dict[str, float]:
    """Return every dropout rate of the model: of modules, and attributes of attention modules."""
    rates = {n: m.p for n, m in loaded.model.named_modules() if isinstance(m, torch.nn.Dropout)}
    for name, module in loaded.model.named_modules():
        for attribute in ("dropout_prob", "attention_dropout"):
            if isinstance(getattr(module, attribute, None), float):
                rates[f"{name}.{attribute}"] = getattr(module, attribute)
    return rates


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_none_keeps_the_encoders_own_dropouts(family: str) -> None:
    folder = shared_encoder(family, dropout=0.25)
    # DeBERTa's pooler has its own rate, 0 unless config.json sets it.
    assert set(rates(load(folder)).values()) <= {0.25, 0}
    assert 0.25 in rates(load(folder)).values()


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_all_dropout_off_is_off_everywhere(family: str) -> None:
    loaded = load(shared_encoder(family), dropout=0, attention_dropout=0, classifier_dropout=0)
    assert set(rates(loaded).values()) <= {0}
    loaded.model.train()
    batch = {"input_ids": torch.tensor([[2, 9, 14, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    first, second = (loaded.model(**batch).logits for _ in range(2))
    torch.testing.assert_close(first, second, atol=0, rtol=0)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_each_dropout_is_set_alone(family: str) -> None:
    own = rates(load(shared_encoder(family)))
    head = {"classifier.dropout", "dropout", "drop"}
    changed = {}
    for name in ("dropout", "attention_dropout", "classifier_dropout"):
        now = rates(load(shared_encoder(family), **{name: 0.5}))
        assert now.keys() == own.keys()
        changed[name] = {key for key in own if now[key] != own[key]}
    assert len(changed["classifier_dropout"]) == 1
    assert changed["classifier_dropout"] <= head
    assert changed["attention_dropout"] and changed["dropout"]
    assert not changed["attention_dropout"] & changed["dropout"]
    assert not changed["attention_dropout"] & head


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "modernbert", "max_position_embeddings": 8192, "pad_token_id": 50283}, 8192),
        ({"model_type": "distilbert"}, 512),
    ],
)
def test_positions_start_after_the_padding_id_in_roberta(config: dict[str, object], longest: int) -> None:
    assert family_of(config).longest_input(config) == longest


def test_half_precision_checkpoints_are_loaded_in_float32(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert")
    halves = {name: value.half() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    assert {value.dtype for value in load(folder).model.parameters()} == {torch.float32}


def test_a_missing_tensor_of_the_encoder_is_reported_and_saved(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "encoder", "mpnet")
    tensors = load_file(folder / "model.safetensors")
    lost = "encoder.relative_attention_bias.weight"
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    classifier = build(folder, LABELS, tiny_recipe(folder))
    (notice,) = [notice for notice in notices.collected() if notice["code"] == "missing_tensors"]
    assert "the checkpoint lacks 1 of the encoder's tensors (mpnet.encoder.relative" in notice["text"]
    classifier.save_adapter(tmp_path / "adapter")
    opened = open_adapter(folder, tmp_path / "adapter", LABELS)
    bias = [c.module.get_base_model().mpnet.encoder.relative_attention_bias for c in (classifier, opened)]
    torch.testing.assert_close(bias[0].weight, bias[1].weight, atol=0, rtol=0)


def test_weights_of_another_encoder_are_rejected(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "roberta", "roberta")
    other = tiny_encoder(tmp_path / "distilbert", "distilbert")
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(
        BadInput, match=r"the weights of a roberta encoder, found a checkpoint that lacks 3\d of"
    ):
        load(folder)


def test_a_classifier_with_other_labels_is_rejected(tmp_path: Path) -> None:
    loaded = load_encoder(shared_encoder("bert"), ["yes", "no", "perhaps"], "here")
    loaded.model.save_pretrained(tmp_path)
    message = r"as many labels \('classifier.*' of shape \[4.*\]\), found shape \[3"
    with pytest.raises(BadInput, match=message):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "expected an encoder's folder with config.json, found no config.json"),
        ("{", "expected an encoder's configuration in JSON, found Expecting property name"),
        ("[1]", "expected a JSON object with the key model_type, found none"),
    ],
)
def test_an_unreadable_config_is_rejected(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadInput, match=message):
        load(tmp_path)


def test_an_unknown_family_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "robertta"}))
    with pytest.raises(BadInput, match="found 'robertta'. Did you mean 'roberta'?"):
        load(tmp_path)


def test_truncated_weights_are_rejected(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "roberta")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="expected an encoder that transformers can load, found"):
        load(folder)


def test_loading_prints_nothing_and_restores_the_libraries_settings(
    capfd: pytest.CaptureFixture[str],
) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    build(shared_encoder("distilbert"), LABELS, tiny_recipe(shared_encoder("distilbert")))
    capfd.readouterr()
    build(shared_encoder("distilbert"), LABELS, tiny_recipe(shared_encoder("distilbert")))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")
