"""Folders of encoders: the files that one needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from submillion.errors import BadInput
from submillion.sources.folder import encoder_files, read_config
from support.encoder import encoder, safetensors


def test_the_files_of_an_encoder_are_those_it_is_loaded_from(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "e")
    assert encoder_files(folder, "e") == ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize("files", [["vocab.txt"], ["vocab.json", "merges.txt"], ["spm.model"]])
def test_any_complete_set_of_tokenizer_files_is_enough(tmp_path: Path, files: list[str]) -> None:
    folder = encoder(tmp_path / "e", tokenizer_json=None)
    for name in files[:-1]:
        (folder / name).touch()
        with pytest.raises(BadInput, match="a tokenizer"):
            encoder_files(folder, "e")
    (folder / files[-1]).touch()
    assert set(files) < set(encoder_files(folder, "e"))


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        encoder_files(tmp_path, "mine")
    text = str(refused.value)
    assert len(refused.value.problems) == 3
    assert "found no config.json. Name a folder as `save_pretrained` writes it" in text
    assert "expected a tokenizer: tokenizer.json or vocab.txt or vocab.json with merges.txt" in text
    assert "expected weights in model.safetensors, found no weights" in text


def test_pickled_weights_are_refused_with_the_reason(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "e", model_safetensors=None)
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(BadInput, match=r"pytorch_model\.bin, a pickle, which can run code.*convert it once"):
        encoder_files(folder, "e")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs", "a git-lfs pointer.*git lfs pull"),
        (safetensors()[:-3], "bytes of weights, found"),
        (safetensors() + b"x", "bytes of weights, found"),
        (b"PK\x03\x04 and so on", "something else"),
        (b"", "something else"),
    ],
)
def test_broken_weights_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    folder = encoder(tmp_path / "e", model_safetensors=content)
    with pytest.raises(BadInput, match=rf"model\.safetensors: .*{words}"):
        encoder_files(folder, "e")


def test_weights_in_several_files_are_all_needed(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "e", model_safetensors=None)
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"weight_map": {"a": shards[0], "b": shards[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / shards[0]).write_bytes(safetensors())
    with pytest.raises(BadInput, match=f"found no {shards[1]}"):
        encoder_files(folder, "e")
    (folder / shards[1]).write_bytes(safetensors())
    assert {*shards, "model.safetensors.index.json"} < set(encoder_files(folder, "e"))


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"model_type": 3}', b"\xff"])
def test_an_invalid_config_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(BadInput, match="config.json"):
        read_config(tmp_path, "mine")


def test_an_adapter_in_place_of_an_encoder_is_refused_with_its_encoder(tmp_path: Path) -> None:
    # With or without a config.json beside it; transformers would load the adapter unasked.
    for folder in (encoder(tmp_path / "both"), tmp_path / "alone"):
        folder.mkdir(exist_ok=True)
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
        with pytest.raises(
            BadInput, match=r"found an adapter of peft .* Name the adapter's encoder, org/base, or"
        ):
            encoder_files(folder, str(folder))


def test_a_run_in_place_of_an_encoder_is_refused_with_its_encoder(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: mine")
    (tmp_path / "manifest.json").write_text('{"encoder": {"source": "minilm"}}')
    with pytest.raises(BadInput, match=r"found a run of submillion. .*: name the encoder .* from, minilm\."):
        encoder_files(tmp_path, "runs/mine")


def test_an_index_that_names_other_files_is_refused(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "encoder", model_safetensors=None)
    (tmp_path / "elsewhere.safetensors").write_bytes(safetensors())
    index = {"weight_map": {"weight": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(
        BadInput, match=r"expected weights named model.safetensors or .*, found \.\./elsewhere"
    ):
        encoder_files(folder, str(folder))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_deep_nesting_is_refused(name: str, tmp_path: Path) -> None:
    deep = b"[" * 100_000
    content = deep if name == "config.json" else len(deep).to_bytes(8, "little") + deep
    folder = encoder(tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(BadInput):
        encoder_files(folder, str(folder))
