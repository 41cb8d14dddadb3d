"""Loading a tokenizer: what is missing is named, broken files are one message, and no code of the folder is run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from submillion.data import tokenizer as tokenizer_module
from submillion.data.tokenizer import load_tokenizer, rust_errors
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.errors import BadInput
from support.tiny import shared_encoder


@pytest.fixture(scope="module")
def folder() -> Path:
    return shared_encoder("bert")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the encoder that a test may change."""
    return shutil.copytree(folder, tmp_path / "encoder")


def test_a_folder_without_a_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    """With a config.json alone, transformers builds a tokenizer without vocabulary and says nothing."""
    shutil.copy(folder / "config.json", tmp_path)
    with pytest.raises(BadInput, match=r"expected a tokenizer: tokenizer\.json or .*, found none\. Save"):
        load_tokenizer(tmp_path)
    with pytest.raises(BadInput, match="found no such folder"):
        load_tokenizer(tmp_path / "absent")


def test_a_broken_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "encoder")
    (tmp_path / "encoder" / "tokenizer.json").write_text("{")
    with pytest.raises(BadInput, match="expected a tokenizer that transformers can load, found"):
        load_tokenizer(tmp_path / "encoder")


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_code_that_comes_with_a_tokenizer_is_not_run(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run directory's tokenizer has no config.json: transformers would ask at the terminal, and run it on `y`."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked at the terminal"))
    marker = copy / "marker"
    (copy / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    (copy / "config.json").unlink()
    change(
        copy / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["own.Own", "own.Own"]},
        tokenizer_class="Own",
    )
    with pytest.raises(BadInput, match="contains custom code"):
        load_tokenizer(copy)
    assert not marker.exists()


def test_numbers_in_config_json_do_not_reach_transformers(copy: Path) -> None:
    change(copy / "config.json", num_labels=10**12, hidden_size="many", id2label=7)
    assert len(load_tokenizer(copy)("goal coach")["input_ids"]) == 4


@pytest.mark.parametrize("present", [(), ("sentencepiece",), ("google.protobuf",)])
def test_missing_libraries_of_sentencepiece_models_are_named(
    present: tuple[str, ...], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_module, "_is_installed", lambda module: module in present)
    (copy / "spm.model").write_bytes(b"a model")
    assert load_tokenizer(copy)  # tokenizer.json needs none of them
    (copy / "tokenizer.json").unlink()
    with pytest.raises(BadInput) as refused:
        load_tokenizer(copy)
    text = str(refused.value)
    assert "(sentencepiece and protobuf)" in text and "tiktoken" not in text
    assert ("no package sentencepiece" in text) == ("sentencepiece" not in present)
    assert text.endswith("Install them with: pip install sentencepiece protobuf")


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "null",
        '{"model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.0]]}}',
        "[" * 100_000,
        "\x00",
    ],
)
def test_a_tokenizer_file_with_other_content_is_one_message(content: str, copy: Path) -> None:
    (copy / "tokenizer.json").write_text(content)
    with pytest.raises(BadInput):
        encode(load_tokenizer(copy), ["goal"], Truncation(8))


def test_a_panic_of_the_tokenizers_library_is_one_message() -> None:
    class PanicException(BaseException):
        """As pyo3 names it."""

    with (
        pytest.raises(BadInput, match="found PanicException: index out of bounds"),
        rust_errors("it", "a tokenizer"),
    ):
        raise PanicException("index out of bounds")
    with pytest.raises(KeyboardInterrupt), rust_errors("it", "a tokenizer"):
        raise KeyboardInterrupt
