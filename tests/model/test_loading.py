"""Tests of model/loading.py: dropouts reach their modules, and files of another encoder are rejected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from submillion import notices
from submillion.data.tokenizer import load_tokenizer
from submillion.errors import BadInput
from submillion.families.families import FAMILIES, family_of
from submillion.model.build import build, open_adapter
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


HEADS = {family: f"{FAMILIES[family].output}.weight" for family in FAMILIES}


def classifier_of(folder: Path, family: str, labels: list[str]) -> Path:
    """Save a trained classifier of `labels` in `folder`: its head has no values that a new head would have."""
    encoder = shared_encoder(family)
    loaded = load_encoder(encoder, labels, "here")
    with torch.no_grad():
        for name, value in loaded.model.named_parameters():
            if name in outside_base(loaded):
                value.fill_(7.0)
    loaded.model.save_pretrained(folder)
    for file in encoder.glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def outside_base(loaded: Loaded) -> set[str]:
    names = {name for name, _ in loaded.model.named_parameters()}
    return {name for name in names if not name.startswith(f"{loaded.family.base}.")}


@pytest.mark.parametrize("labels", [LABELS, LABELS[:3]], ids=["as many classes", "other classes"])
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "deberta-v2", "modernbert"])
def test_the_head_of_another_classifier_is_never_used(family: str, labels: list[str], tmp_path: Path) -> None:
    folder = classifier_of(tmp_path / "theirs", family, labels)
    torch.manual_seed(1)
    loaded = load(folder)
    own = dict(loaded.model.named_parameters())
    fresh = outside_base(loaded)
    assert HEADS[family] in fresh and fresh <= set(loaded.randomly_initialised)
    assert not any((own[name] == 7.0).any() for name in fresh)
    assert own[HEADS[family]].shape[0] == len(LABELS)
    theirs = load_file(folder / "model.safetensors")
    for name in own.keys() - set(loaded.randomly_initialised):
        torch.testing.assert_close(own[name], theirs[name], atol=0, rtol=0)


def test_a_run_on_another_classifier_tells_so_and_opens_with_its_own_head(tmp_path: Path) -> None:
    folder = classifier_of(tmp_path / "theirs", "bert", LABELS)
    classifier = build(folder, LABELS, tiny_recipe(folder, head={"kind": "lora", "r": 3}))
    (notice,) = [notice for notice in notices.collected() if notice["code"] == "foreign_head"]
    assert (
        "comes with the head of another classifier (4 outputs); its encoder is used, and a new head"
        in (notice["text"])
    )
    classifier.save_adapter(tmp_path / "adapter")
    opened = open_adapter(folder, tmp_path / "adapter", LABELS)
    batch = {"input_ids": torch.tensor([[2, 9, 14, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    torch.testing.assert_close(opened(batch), classifier.eval()(batch), atol=0, rtol=0)


@pytest.mark.parametrize(
    "family", ["BertForTokenClassification", "BertForMaskedLM", "BertForQuestionAnswering"]
)
def test_heads_of_other_tasks_are_dropped_without_a_notice(family: str, tmp_path: Path) -> None:
    config = transformers.AutoConfig.from_pretrained(shared_encoder("bert"))
    getattr(transformers, family)(config).save_pretrained(tmp_path)
    build(tmp_path, LABELS, tiny_recipe(tmp_path))
    assert [notice["code"] for notice in notices.collected()] == []


def test_an_encoder_that_lacks_a_layer_is_rejected(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert")
    tensors = load_file(folder / "model.safetensors")
    del tensors["bert.encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        BadInput, match=r"lacks 1 of its \d+ tensors \('bert.encoder.layer.1.output.dense.weight'\)"
    ):
        load(folder)


def test_layers_that_the_config_does_not_count_are_named(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert")
    edit_config(folder, num_hidden_layers=1)
    assert len(load(folder).model.bert.encoder.layer) == 1
    (notice,) = notices.collected()
    assert notice["code"] == "unused_layers" and notice["layers"] == [1]


def edit_config(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: expected at most 1,000, found 1000000000"),
        ({"hidden_size": 10**5000}, "expected integers of at most 64 bits, found an integer of 4,001 digits"),
        ({"vocab_size": -1}, "vocab_size: expected a whole number from 1, found -1"),
        ({"vocab_size": 9_000_000}, r"expected the weights of a bert encoder with the 288,\d+,\d+ parameters of"),
        ({"num_hidden_layers": 900}, r"expected the weights of a bert encoder with the \d,\d+,\d+ parameters of"),
        ({"num_attention_heads": 5}, "num_attention_heads: expected a divisor of the hidden size 32, found 5"),
        ({"pad_token_id": 64000}, r"pad_token_id: expected a token id from 0 to \d+, found 64000"),
        ({"pad_token_id": None}, r"pad_token_id: expected a token id from 0 to \d+, found None"),
        ({"type_vocab_size": 0}, "type_vocab_size: expected a whole number from 1, found 0"),
        ({"intermediate_size": 63}, "expected 'bert.encoder.layer.0.intermediate.dense.bias' of shape"),
        ({"hidden_act": "no such function"}, "expected an encoder that transformers can load, found KeyError"),
        ({"layer_norm_eps": "small"}, "expected an encoder that transformers can load, found"),
        ({"quantization_config": {"quant_method": "fp8"}}, "found quantised weights. Name the encoder that"),
    ],
)  # fmt: skip
def test_a_config_with_absurd_entries_is_rejected(
    values: dict[str, object], message: str, tmp_path: Path
) -> None:
    folder = tiny_encoder(tmp_path, "bert")
    if values.get("hidden_size"):
        config = (
            (folder / "config.json").read_text().replace('"hidden_size": 32', '"hidden_size": 1' + "0" * 4000)
        )
        (folder / "config.json").write_text(config)
    else:
        edit_config(folder, **values)
    with pytest.raises(BadInput, match=message):
        load(folder)


def test_entries_of_another_task_do_not_reach_the_model(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert")
    before = dict(load(folder).model.named_parameters())
    edit_config(
        folder, is_decoder=True, return_dict=False, num_labels=9, _attn_implementation="flash_attention_2"
    )
    loaded = load(folder)
    assert not loaded.model.config.is_decoder and loaded.model.config.num_labels == len(LABELS)
    batch = {"input_ids": torch.tensor([[2, 9, 14, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    assert loaded.model(**batch).logits.shape == (1, 4)
    assert before.keys() == dict(loaded.model.named_parameters()).keys()


def test_code_that_comes_with_an_encoder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, marker = tiny_encoder(tmp_path / "encoder", "bert"), tmp_path / "marker"
    names = {
        "AutoConfig": "own.Own",
        "AutoModelForSequenceClassification": "own.Own",
        "AutoTokenizer": ["own.Own", None],
    }
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Own: pass\n")
    edit_config(folder, auto_map=names)
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"auto_map": names}))

    def asked(*_: object) -> str:
        raise AssertionError("asked at the terminal")

    monkeypatch.setattr("builtins.input", asked)
    build(folder, LABELS, tiny_recipe(folder))
    assert [notice["code"] for notice in notices.collected()] == ["custom_code"]
    assert len(load_tokenizer(folder)("goal coach")["input_ids"]) == 4
    assert not marker.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "expected an encoder's folder with config.json, found no config.json"),
        (
            "{",
            "expected an encoder's configuration in JSON, found a text that is not JSON .Expecting property name",
        ),
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
