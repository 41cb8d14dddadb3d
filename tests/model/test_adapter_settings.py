"""adapter_config.json of a stranger: every value is checked before peft gets it, and the adapters of recipes pass."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from submillion.errors import BadInput
from submillion.model.adapter_settings import settings_of
from submillion.model.build import build, open_adapter
from submillion.sources.adapter_files import CONFIG, TENSORS
from support.tiny import LABELS, shared_encoder, tiny_recipe

ENCODER = shared_encoder("bert")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build(ENCODER, LABELS, tiny_recipe(ENCODER, head={"kind": "lora", "r": 3})).save_adapter(tmp_path)
    return tmp_path


def change(folder: Path, **values: Any) -> None:
    file = folder / CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize("variant", ["lora", "dora", "pissa", "adalora", "vera", "bitfit"])
def test_the_adapters_of_recipes_pass(variant: str, tmp_path: Path) -> None:
    lora = {"variant": variant, "r": 2, "bias": "all" if variant == "bitfit" else "none"}
    head = {"kind": "linear" if variant in ("adalora", "vera", "bitfit") else "lora"}
    build(ENCODER, LABELS, tiny_recipe(ENCODER, lora=lora, head=head)).save_adapter(tmp_path)
    assert open_adapter(ENCODER, tmp_path, LABELS).label_names == LABELS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_type": "LOHA"}, "expected a LoRA adapter, found an adapter of kind 'LOHA'"),
        ({"peft_type": ["LORA"]}, "found an adapter of kind"),
        ({"r": "4"}, "adapter_config.json, r: expected a rank, found '4'"),
        ({"r": True}, "r: expected a rank, found True"),
        ({"r": 10**9}, "r: expected a rank, found 1000000000"),
        ({"r": 65}, "expected ranks up to 64, found 65"),
        ({"rank_pattern": {"bert.pooler.dense": 9999}}, "expected ranks up to 64, found 9,999"),
        ({"rank_pattern": {"(a+)+$": 2}}, "rank_pattern: expected ranks by module"),
        ({"lora_alpha": float("1e300")}, "lora_alpha: expected a number"),
        ({"lora_dropout": 2}, "lora_dropout: expected a share, found 2"),
        ({"target_modules": 7}, "target_modules: expected names of modules"),
        ({"target_modules": "(a|a)(a|a)(a|a)(a|a)"}, "target_modules: expected names of modules"),
        ({"target_modules": "(.*)*x"}, "target_modules: expected names of modules"),
        ({"target_modules": r"bert\q"}, "target_modules: expected names of modules"),
        ({"target_modules": "no.such.module"}, "expected settings that fit the encoder, found NoMatching"),
        ({"modules_to_save": "classifier"}, "modules_to_save: expected names of modules"),
        ({"megatron_config": {"a": 1}}, "megatron_config: expected no value: no recipe sets it"),
        ({"monteclora_config": {"a": 1}}, "monteclora_config: expected no value"),
        ({"loftq_config": {"loftq_bits": 4}}, "loftq_config: expected no value"),
        ({"layer_replication": [[0, 9]]}, "layer_replication: expected no value"),
        ({"from_the_future": 1}, "from_the_future: expected no value"),
    ],
)
def test_other_settings_are_refused(values: dict[str, Any], message: str, folder: Path) -> None:
    change(folder, **values)
    with pytest.raises(BadInput, match=message):
        open_adapter(ENCODER, folder, LABELS)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "NaN", '{"peft_type": null}', '{"r": Infinity}', "[" * 9999]
)
def test_other_texts_are_refused(text: str, folder: Path) -> None:
    (folder / CONFIG).write_text(text)
    with pytest.raises(BadInput):
        open_adapter(ENCODER, folder, LABELS)


def test_a_long_pattern_is_refused_at_once() -> None:
    start = time.thread_time()  # of this thread alone: other programs may take the processor
    for pattern in ("a" * 19_000 + "!", "a|" * 9_000 + "!", "a.(0|" * 3_000, "(0|0)" * 3_000):
        with pytest.raises(BadInput):
            settings_of({"peft_type": "LORA", "target_modules": pattern}, "file")
    assert time.thread_time() - start < 2


def nan(tensor: torch.Tensor) -> torch.Tensor:
    return torch.full_like(tensor, float("nan"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (nan, "expected finite numbers in '.*', found NaN or infinity"),
        (lambda tensor: tensor.half(), "in torch.float32, found torch.float16"),
        (lambda tensor: tensor.to(torch.int64), "in torch.float32, found torch.int64"),
        (lambda tensor: tensor[:-1], "of shape"),
    ],
)
def test_tensors_are_checked_before_use(changed: Any, message: str, folder: Path) -> None:
    from safetensors import safe_open

    with safe_open(folder / TENSORS, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(folder / TENSORS)
    name = sorted(tensors)[0]
    tensors[name] = changed(tensors[name]).contiguous()
    save_file(tensors, folder / TENSORS, metadata)
    with pytest.raises(BadInput, match=message):
        open_adapter(ENCODER, folder, LABELS)


@pytest.mark.parametrize("labels", ["[", "7", "[1, 2]", '{"a": 1}'])
def test_the_names_of_classes_are_checked(labels: str, folder: Path) -> None:
    save_file(load_file(folder / TENSORS), folder / TENSORS, {"label_names": labels})
    with pytest.raises(BadInput, match="label_names"):
        open_adapter(ENCODER, folder, LABELS)
