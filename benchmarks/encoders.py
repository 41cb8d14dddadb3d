"""The encoders that benchmarks run: a folder's own weights or random ones, or one of the catalog."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.apart import Failed, apart


@contextmanager
def with_weights(encoder: Path) -> Iterator[Path]:
    """Give the encoder's folder, or where it has no weights a copy with random ones, as fast as any."""
    if has_weights(encoder):
        yield encoder
        return
    with tempfile.TemporaryDirectory(prefix="encoder-") as folder:
        draw_weights(encoder, Path(folder))
        yield Path(folder)


def has_weights(encoder: Path) -> bool:
    """Whether the folder has weights."""
    return any(encoder.glob("*.safetensors"))


def draw_weights(encoder: Path, folder: Path) -> None:
    """Copy an encoder into `folder`, and give it random weights, always the same ones."""
    shutil.copytree(encoder, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    try:
        apart(_draw, folder)
    except Failed as error:
        raise SystemExit(f"{encoder}: no encoder could be made from its config.json: {error}") from None


def fetched(name: str) -> Path:
    """Return the folder of an encoder of the catalog, downloaded if it is not here yet."""
    from submillion.sources.fetch import fetch_encoder

    return fetch_encoder(name).path


def _draw(folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
