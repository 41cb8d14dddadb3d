"""The file of a head that reads the mean of the last states: written beside the adapter, read strictly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from submillion.errors import BadInput, Problem
from submillion.files.atomic import atomic_file
from submillion.model import adapter
from submillion.model.adapter_settings import ANOTHER
from submillion.model.heads import PooledHead
from submillion.sources.adapter_files import HEAD

NORMALIZE = "normalize"
"""In the file's metadata: `true` if the mean is scaled to length 1. Without it, it is not."""
EXPECTED = "the head of an adapter"


def write(folder: Path, head: PooledHead, label_names: Sequence[str]) -> None:
    """Write `weight`, float32 [C, D], and `bias`, float32 [C].

    Args:
        folder: the adapter's.
        head: whether it scales the mean is stored in the file's metadata.
        label_names: class names by index, stored in the file's metadata.

    Raises:
        SubmillionError: the disk refused the file; the one that was there before is unchanged.
    """
    tensors = {
        name: value.detach().to("cpu", torch.float32, copy=True).contiguous()
        for name, value in head.layer.named_parameters()
    }
    metadata = {"label_names": json.dumps(list(label_names))}
    if head.normalize:
        metadata[NORMALIZE] = "true"
    data = save(tensors, metadata)
    with atomic_file(folder / HEAD) as temporary:
        temporary.write_bytes(data)


def read(folder: Path, hidden: int, label_names: Sequence[str]) -> tuple[dict[str, torch.Tensor], bool]:
    """Return `weight` and `bias`, and whether the mean is scaled to length 1.

    Args:
        folder: the adapter's.
        hidden: D, features of a text.
        label_names: class names by index, the same as in training.

    Raises:
        BadInput: the file is missing or damaged, or it is not the head of such a classifier.
    """
    file, classes = folder / HEAD, len(label_names)
    tensors, labels = adapter.read_tensor_file(file, EXPECTED)
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
    return tensors, normalizes(file)


def normalizes(file: Path) -> bool:
    """Return whether the head in a file reads the mean scaled to length 1.

    Raises:
        BadInput: the file is missing or damaged, or its metadata has another value.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            value = (opened.metadata() or {}).get(NORMALIZE)
    except (OSError, SafetensorError) as error:
        raise BadInput(Problem(str(file), EXPECTED, f"{error}")) from error
    if value not in (None, "true", "false"):
        raise BadInput(Problem(f"{file}, {NORMALIZE}", "true or false", value, ANOTHER))
    return bool(value == "true")
