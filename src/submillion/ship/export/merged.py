"""Writes the merged checkpoint: config.json and model.safetensors as transformers reads them, and the tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from submillion.model import head_file
from submillion.model.loading import quiet_libraries
from submillion.sources.folder import CONFIG

if TYPE_CHECKING:
    from submillion.ship.export.source import ExportSource

WEIGHTS = "model.safetensors"


def write_common(source: ExportSource, folder: Path) -> None:
    """Write what every form needs: config.json and the tokenizer's files."""
    with quiet_libraries():
        source.model.config.save_pretrained(folder)
        source.tokenizer.save_pretrained(folder)


def write_merged(source: ExportSource, file: Path) -> None:
    """Write model.safetensors with config.json beside it, and head.safetensors for a head that reads the mean.

    No class of transformers pools the mean and classifies it, so that such a checkpoint is the encoder alone.

    Args:
        source: the run.
        file: the weights; its name is that which transformers reads.
    """
    with quiet_libraries():
        source.model.save_pretrained(file.parent)
    # safetensors makes a file that only its owner may read; config.json has the permissions of any new file.
    file.chmod((file.parent / CONFIG).stat().st_mode)
    if source.head is not None:
        head_file.write(file.parent, source.head, source.labels)
