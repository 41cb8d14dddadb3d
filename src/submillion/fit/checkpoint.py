"""What a training needs to go on bit for bit, in one file: tensors and position, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from submillion.atomic import atomic_file
from submillion.errors import BadInput, Problem
from submillion.rundir import RunDir

if TYPE_CHECKING:
    from torch import Tensor

RESTART = "Train it again with --overwrite."


def latest(run: RunDir) -> Path:
    """Return where the latest state of a run lies.

    One file, so that values, moments and position can never be of different steps: a safetensors file
    (no pickle) whose metadata holds the position as JSON. Generator states are not needed, since each step
    draws its dropout from the seed and its own number.
    """
    return run.checkpoint / "latest" / "state.safetensors"


def best(run: RunDir) -> Path:
    """Return where the best adapter so far lies, in PEFT's format; the latest state holds its values too."""
    return run.checkpoint / "best"


def save(run: RunDir, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
    """Write the latest state; the one before stands until the new one is whole on disk.

    Args:
        tensors: what the optimizer holds, the best values and their logits.
        position: all else, as JSON values; floats come back exactly.

    Raises:
        SubmillionError: the disk refused the write; the state before is unchanged.
    """
    from safetensors.torch import save as serialise

    data = serialise({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata(position))
    with atomic_file(latest(run)) as temporary:
        temporary.write_bytes(data)


def load(
    run: RunDir, expected: dict[str, Any], defaults: Mapping[str, Any] = MappingProxyType({})
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return tensors and position of the latest state; None where the run was stopped before the first one.

    Args:
        expected: what the position's `identity` must equal: everything that decides the steps to come.
        defaults: what stands for entries that the identity has not: the state is from before they existed.

    Raises:
        BadInput: the state is unreadable, or belongs to a training that this one would not continue.
    """
    from safetensors import SafetensorError, safe_open

    file = latest(run)
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            position: dict[str, Any] = json.loads(opened.metadata()["position"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadInput(Problem(str(file), "the saved state of a training", f"{error}", RESTART)) from error
    # Through JSON and back, tuples and lists are the same.
    wanted, found = json.loads(json.dumps(expected)), {**defaults, **position["identity"]}
    differing = [key for key in wanted if wanted[key] != found.get(key)]
    if differing:
        raise BadInput([Problem(str(file), *_told(key, found.get(key), wanted[key])) for key in differing])
    return tensors, position


def metadata(position: dict[str, Any]) -> dict[str, str]:
    """Return `position` as safetensors metadata, which is text."""
    return {"position": json.dumps(position)}


def _told(key: str, before: Any, now: Any) -> tuple[str, str, str]:
    remedy = "Its steps depend on it: go on with that, or train again into another directory."
    if len(f"{before}{now}") > 80:  # a hash, or the names of all parameters
        return f"the same {key} as the run was started with", "others", remedy
    return f"{key} {before}, as the run was started with", f"{now}", remedy
