"""Checkpoints of a training: one file of tensors and position, from which it resumes bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from submillion.atomic import atomic_file
from submillion.errors import BadInput, Problem
from submillion.rundir import RunDir

RESTART = "Train the run again with @{overwrite}."


def latest(run: RunDir) -> Path:
    """Return the file of a run's latest state.

    It is a single file, so that values, moments and position always belong to the same step: a safetensors file
    (no pickle) whose metadata holds the position as JSON. Generator states are not needed, because each step
    draws its dropout from the seed and its own number.
    """
    return run.checkpoint / "latest" / "state.safetensors"


def best(run: RunDir) -> Path:
    """Return the folder of the best adapter so far, in PEFT's format; the latest state holds its values too."""
    return run.checkpoint / "best"


def save(run: RunDir, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
    """Write the latest state; it replaces the previous one only when it is complete on disk.

    Args:
        run: the run directory.
        tensors: the optimizer's, the best values and their logits.
        position: everything else, as JSON values; floats are restored exactly.

    Raises:
        SubmillionError: the file could not be written; the previous state is unchanged.
    """
    data = serialise({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata(position))
    with atomic_file(latest(run)) as temporary:
        temporary.write_bytes(data)


def load(
    run: RunDir, expected: dict[str, Any], defaults: Mapping[str, Any] = MappingProxyType({})
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return tensors and position of the latest state; None if the run was stopped before the first one.

    Args:
        run: the run directory.
        expected: the entries that the position's `identity` must have.
        defaults: values of entries that the identity lacks because an older version wrote it.

    Raises:
        BadInput: the state is unreadable, or belongs to another training.
    """
    file = latest(run)
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            position: dict[str, Any] = json.loads(opened.metadata()["position"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadInput(Problem(str(file), "the saved state of a training", f"{error}", RESTART)) from error
    # A round trip through JSON makes tuples lists, as they are in the file.
    wanted, saved = json.loads(json.dumps(expected)), {**defaults, **position["identity"]}
    differing = [key for key in wanted if wanted[key] != saved.get(key)]
    if differing:
        raise BadInput([_mismatch(file, key, saved.get(key), wanted[key]) for key in differing])
    return tensors, position


def metadata(position: dict[str, Any]) -> dict[str, str]:
    """Return `position` as safetensors metadata, which is text."""
    return {"position": json.dumps(position)}


def _mismatch(file: Path, key: str, saved: Any, wanted: Any) -> Problem:
    remedy = "The training's steps depend on it: resume with the original, or train into another directory."
    if len(f"{saved}{wanted}") > 80:  # a hash, or the names of all parameters
        return Problem(str(file), f"the same {key} as when the run was started", "others", remedy)
    return Problem(str(file), f"{key} {saved}, as when the run was started", f"{wanted}", remedy)
