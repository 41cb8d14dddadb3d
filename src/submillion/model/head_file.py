"""The file of a head that reads the mean of the last states: written beside the adapter, read strictly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from submillion.errors import BadInput, Problem
from submillion.files.atomic import atomic_file
from submillion.model import adapter
from submillion.model.adapter_settings import ANOTHER
from submillion.sources.adapter_files import HEAD


def write(folder: Path, layer: nn.Linear, label_names: Sequence[str]) -> None:
    """Write `weight`, float32 [C, D], and `bias`, float32 [C].

    Args:
        folder: the adapter's.
        layer: the output layer.
        label_names: class names by index, stored in the file's metadata.

    Raises:
        SubmillionError: the disk refused the file; the one that was there before is unchanged.
    """
    tensors = {
        name: value.detach().to("cpu", torch.float32, copy=True).contiguous()
        for name, value in layer.named_parameters()
    }
    data = save(tensors, {"label_names": json.dumps(list(label_names))})
    with atomic_file(folder / HEAD) as temporary:
        temporary.write_bytes(data)


def read(folder: Path, hidden: int, label_names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return `weight` and `bias`.

    Args:
        folder: the adapter's.
        hidden: D, features of a text.
        label_names: class names by index, the same as in training.

    Raises:
        BadInput: the file is missing or damaged, or it is not the head of such a classifier.
    """
    file, classes = folder / HEAD, len(label_names)
    tensors, labels = adapter.read_tensor_file(file, "the head of an adapter")
    adapter.check_labels(folder, labels, label_names)
    shapes = {"weight": [classes, hidden], "bias": [classes]}
    found = {name: list(value.shape) for name, value in tensors.items()}
    if found != shapes:
        raise BadInput(Problem(str(file), f"tensors of the shapes {shapes}", str(found), ANOTHER))
    for name, value in tensors.items():
        if value.dtype != torch.float32 or not bool(torch.isfinite(value).all()):
            raise BadInput(
                Problem(
                    str(file),
                    f"finite float32 numbers in '{name}'",
                    f"{value.dtype}, NaN or infinity",
                    ANOTHER,
                )
            )
    return tensors
