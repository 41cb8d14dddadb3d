"""The encoders of the benchmarks: a folder with its own or random weights, one of the catalog, or a shape."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.isolated import ProcessFailed, run_isolated
from submillion.sources.configs import DEBERTA_V3_BASE, MODERNBERT_BASE


@contextmanager
def with_weights(encoder: Path) -> Iterator[Path]:
    """Yield the encoder's folder, or a temporary copy with random weights if it has none; speed is the same."""
    if has_weights(encoder):
        yield encoder
        return
    with tempfile.TemporaryDirectory(prefix="encoder-") as folder:
        save_random_weights(encoder, Path(folder))
        yield Path(folder)


SHAPES = {
    "modernbert-base": MODERNBERT_BASE,
    "deberta-v3-small": DEBERTA_V3_BASE | {"num_hidden_layers": 6},
}
"""The config.json of encoders that are measured with random weights."""


@contextmanager
def of_shape(name: str, tokenizer: Path) -> Iterator[Path]:
    """Yield a temporary encoder of one of SHAPES, with random weights and the tokenizer of a folder."""
    with tempfile.TemporaryDirectory(prefix="encoder-") as folder:
        run_isolated(_save_shape, name, tokenizer, Path(folder))
        yield Path(folder)


def has_weights(encoder: Path) -> bool:
    """Return whether the folder has weights."""
    return any(encoder.glob("*.safetensors"))


def save_random_weights(encoder: Path, folder: Path) -> None:
    """Copy an encoder into `folder` and add random weights, the same ones every time."""
    shutil.copytree(encoder, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    try:
        run_isolated(_save_random, folder)
    except ProcessFailed as error:
        raise SystemExit(f"{encoder}: cannot build an encoder from its config.json: {error}") from None


def catalog_folder(name: str) -> Path:
    """Return the folder of an encoder of the catalog, which is downloaded if necessary."""
    from submillion.sources.fetch import fetch_encoder

    return fetch_encoder(name).path


def _save_shape(name: str, tokenizer: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    # Its own vocabulary is larger; speed does not depend on it.
    loaded = AutoTokenizer.from_pretrained(str(tokenizer), local_files_only=True)
    loaded.save_pretrained(folder)
    config = SHAPES[name] | {"pad_token_id": loaded.pad_token_id}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    _save_random(folder)


def _save_random(folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    library: Any = logging  # its functions have no types
    library.disable_progress_bar()
    torch.manual_seed(0)
    models: Any = AutoModel
    models.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
