"""Tests of model/adapter.py: plain peft reads the files, a missing tensor is an error, no request to the hub."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from submillion.errors import BadInput, SubmillionError
from submillion.model.adapter import adapter_tensors
from submillion.model.build import open_adapter
from submillion.sources.adapter_files import CONFIG, TENSORS
from support.plain_peft import logits_of, trained
from support.tiny import LABELS, shared_encoder

HEADS = ("stock", "linear", "lora")


@pytest.mark.parametrize("family", ["roberta", "bert-no-pooler", "distilbert", "deberta-v2"])
@pytest.mark.parametrize("kind", HEADS)
def test_a_reopened_adapter_gives_the_same_logits_and_trains_the_same_parameters(
    family: str, kind: str, tmp_path: Path
) -> None:
    classifier = trained(family, head={"kind": kind}, lora={"bias": "lora_only"})
    classifier.save_adapter(tmp_path)
    torch.manual_seed(1)
    opened = open_adapter(shared_encoder(family), tmp_path, LABELS)
    assert not opened.training
    torch.testing.assert_close(logits_of(opened), logits_of(classifier), atol=0, rtol=0)
    assert opened.trainable_count() == classifier.trainable_count()
    assert opened.prefix_depth == classifier.prefix_depth


def test_an_adapter_loads_into_a_classifier_built_with_another_seed(tmp_path: Path) -> None:
    first = trained("roberta", head={"kind": "lora"})
    first.save_adapter(tmp_path)
    second = trained("roberta", head={"kind": "lora"}, seed=77)
    assert not torch.allclose(logits_of(first), logits_of(second), atol=1e-2)
    second.load_adapter(tmp_path)
    torch.testing.assert_close(logits_of(first), logits_of(second), atol=0, rtol=0)


@pytest.mark.parametrize("part", ["lora_A", "classifier.dense.weight", "classifier.out_proj.bias"])
def test_a_missing_tensor_is_an_error_and_never_initialised(part: str, tmp_path: Path) -> None:
    classifier = trained("roberta", head={"kind": "linear"})
    classifier.save_adapter(tmp_path)
    tensors = load_file(tmp_path / TENSORS)
    lost = next(name for name in tensors if part in name)
    save_file({name: value for name, value in tensors.items() if name != lost}, tmp_path / TENSORS)
    message = (
        f"{TENSORS}: expected the tensor '{lost}', found no tensor of that name. Was it trained with another"
    )
    with pytest.raises(BadInput) as caught:
        open_adapter(shared_encoder("roberta"), tmp_path, LABELS)
    assert message in str(caught.value)
    before = logits_of(classifier)
    with pytest.raises(BadInput):
        classifier.load_adapter(tmp_path)
    torch.testing.assert_close(logits_of(classifier), before, atol=0, rtol=0)


def test_the_error_lists_every_tensor_of_another_rank_or_name(tmp_path: Path) -> None:
    trained("roberta", head={"kind": "linear"}, lora={"r": 5}).save_adapter(tmp_path)
    other = trained("roberta", head={"kind": "linear"}, lora={"r": 4, "targets": ["query"]})
    with pytest.raises(BadInput) as caught:
        other.load_adapter(tmp_path)
    query = "base_model.model.roberta.encoder.layer.0.attention.self.query.lora_A.weight"
    assert f"expected '{query}' of shape [4, 32], found shape [5, 32]" in str(caught.value)
    assert "expected only tensors of this classifier, found 'base_model.model.roberta.encoder.layer.0" in str(
        caught.value
    )
    assert len(caught.value.problems) == 2 * 2 + 2 * 5 * 2


def test_other_labels_are_rejected(tmp_path: Path) -> None:
    trained("roberta").save_adapter(tmp_path)
    swapped = [LABELS[1], LABELS[0], *LABELS[2:]]
    with pytest.raises(
        BadInput, match="expected the 4 labels it was trained with \\(World, Sports, Business"
    ):
        open_adapter(shared_encoder("roberta"), tmp_path, swapped)
    with pytest.raises(BadInput, match="found 3: World, Sports, Business"):
        open_adapter(shared_encoder("roberta"), tmp_path, LABELS[:3])


def test_labels_of_an_adapter_without_label_names_are_counted(tmp_path: Path) -> None:
    trained("roberta").save_adapter(tmp_path)
    save_file(load_file(tmp_path / TENSORS), tmp_path / TENSORS)  # without the label names in the metadata
    open_adapter(shared_encoder("roberta"), tmp_path, ["any", "names", "but", "four"])
    with pytest.raises(BadInput, match=r"out_proj.weight' of shape \[3, 32\], found shape \[4, 32\]"):
        open_adapter(shared_encoder("roberta"), tmp_path, LABELS[:3])


def test_a_folder_without_an_adapter_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected the configuration of a LoRA adapter, found no such file"):
        open_adapter(shared_encoder("roberta"), tmp_path, LABELS)
    (tmp_path / CONFIG).write_text('{"peft_type": "IA3"}')
    with pytest.raises(BadInput, match="expected a LoRA adapter, found an adapter of kind 'IA3'"):
        open_adapter(shared_encoder("roberta"), tmp_path, LABELS)
    trained("roberta").save_adapter(tmp_path)
    (tmp_path / TENSORS).write_bytes(b"torn")
    with pytest.raises(BadInput, match="expected the tensors of an adapter, found .*header"):
        open_adapter(shared_encoder("roberta"), tmp_path, LABELS)


def test_a_full_disk_leaves_the_previous_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained("roberta")
    first.save_adapter(tmp_path)
    second = trained("roberta", seed=9)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(SubmillionError, match="could not be written \\(No space left on device\\)"):
            second.save_adapter(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [CONFIG, TENSORS]
    opened = open_adapter(shared_encoder("roberta"), tmp_path, LABELS)
    torch.testing.assert_close(logits_of(opened), logits_of(first), atol=0, rtol=0)


def test_saving_the_same_adapter_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        trained("bert-no-pooler", head={"kind": "lora"}).save_adapter(tmp_path / name)
    for file in (CONFIG, TENSORS):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_configuration_names_origin_and_modules(tmp_path: Path) -> None:
    trained(
        "bert", head={"kind": "lora"}, lora={"layers": "top-1", "targets": ["query", "value"]}
    ).save_adapter(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["base_model_name_or_path"] == str(shared_encoder("bert"))
    assert config["inference_mode"] is True
    assert config["modules_to_save"] == ["classifier"]
    assert config["target_modules"] == (
        r"bert\.encoder\.layer\.(1)\.(attention\.self\.query|attention\.self\.value)|bert\.pooler\.dense"
    )
    assert config["auto_mapping"]["base_model_class"] == "BertForSequenceClassification"


def test_no_embedding_is_saved() -> None:
    classifier = trained("roberta")
    assert not any("embeddings" in name for name in adapter_tensors(classifier.module, []))


@pytest.mark.filterwarnings("ignore:Unable to fetch remote file")
def test_saving_sends_no_request_to_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    requests: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        requests.append(address)
        raise OSError("no network in this test")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    classifier = trained("roberta")
    # The id of an encoder on the hub; peft's own saving would request its config.
    classifier.module.peft_config["default"].base_model_name_or_path = "FacebookAI/roberta-base"
    classifier.save_adapter(tmp_path)
    open_adapter(shared_encoder("roberta"), tmp_path, LABELS)
    assert requests == []
    with pytest.warns(UserWarning, match="Could not find a config file in FacebookAI/roberta-base"):
        classifier.module.save_pretrained(tmp_path / "by-peft")
    assert requests
