"""Checkpoints of a training: two generations of one file with a checksum, from which it resumes bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import Tensor

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.files.atomic import atomic_file, disk_errors
from submillion.fit.position import Position, position_of
from submillion.rundir import RunDir

RESTART = "Train the run again with @{overwrite}."
ENTRY = "state"
"""The only entry of the file's metadata: the checksum, a blank, the position as JSON."""
NO_CHECKSUM = "0" * 64
"""Stands for the checksum in the bytes that it is computed over."""


def latest(run: RunDir) -> Path:
    """Return the file of a run's latest state.

    It is a single file, so that values, moments and position always belong to the same step: a safetensors file
    (no pickle) whose metadata holds the sha256 of the whole file and the position as JSON. Generator states are not
    needed, because each step draws its dropout from the seed and its own number.
    """
    return run.checkpoint / "latest" / "state.safetensors"


def previous(run: RunDir) -> Path:
    """Return the file of the state before the latest one, which is used if that is damaged."""
    return run.checkpoint / "previous" / "state.safetensors"


def best(run: RunDir) -> Path:
    """Return the folder of the best adapter so far, in PEFT's format; the latest state holds its values too."""
    return run.checkpoint / "best"


def save(run: RunDir, tensors: dict[str, Tensor], position: Mapping[str, Any]) -> None:
    """Write the latest state; the one before it is kept, and replaced only when this one is complete on disk.

    Args:
        run: the run directory.
        tensors: the optimizer's, the best values and their logits.
        position: everything else, with the keys of `Position`; floats are restored exactly.

    Raises:
        SubmillionError: the file could not be written; both earlier states are unchanged.
    """
    file, older = latest(run), previous(run)
    with atomic_file(file) as temporary:
        temporary.write_bytes(sealed(tensors, position))
        if file.exists():
            older.parent.mkdir(parents=True, exist_ok=True)
            file.replace(older)


def sealed(tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> bytes:
    """Return the content of a state's file."""
    entry = {ENTRY: f"{NO_CHECKSUM} {json.dumps(position)}"}
    data = serialise({name: tensor.contiguous() for name, tensor in tensors.items()}, entry)
    checksum = hashlib.sha256(data).hexdigest()
    return data.replace(NO_CHECKSUM.encode(), checksum.encode(), 1)


def load(
    run: RunDir, expected: dict[str, Any], defaults: Mapping[str, Any] = MappingProxyType({})
) -> tuple[dict[str, Tensor], Position] | None:
    """Return tensors and position of the latest state, or of the one before if the latest is absent or damaged.

    A damaged one is moved to `checkpoint/damaged`, after a notice.

    Args:
        run: the run directory.
        expected: the entries that the position's `identity` must have.
        defaults: values of entries that the identity lacks because an older version wrote it.

    Returns:
        None if the run was stopped before the first state was saved.

    Raises:
        BadInput: both states are damaged, or they belong to another training.
    """
    damaged: list[Problem] = []
    for file in (latest(run), previous(run)):
        if not file.exists():
            continue
        try:
            tensors, position = read(file)
            _check_history(run, position)
        except BadInput as error:
            damaged += error.problems
            continue
        _check_identity(file, position, expected, defaults)
        if damaged:
            _set_aside(run, damaged[0], position["step"])
        return tensors, position
    if damaged:
        raise BadInput(damaged)
    return None


def read(file: Path) -> tuple[dict[str, Tensor], Position]:
    """Return tensors and position of one state.

    Raises:
        BadInput: the file is unreadable or damaged: any changed bit is found by its checksum.
    """
    try:
        data = file.read_bytes()
        length = int.from_bytes(data[:8], "little")
        checksum, _, text = json.loads(data[8 : 8 + length])["__metadata__"][ENTRY].partition(" ")
        original = data.replace(checksum.encode(), NO_CHECKSUM.encode(), 1)
        if len(checksum) != len(NO_CHECKSUM) or hashlib.sha256(original).hexdigest() != checksum:
            raise ValueError("its content does not have its checksum")
        return deserialise(data), position_of(text)
    except (
        OSError,
        SafetensorError,
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
    ) as error:
        flaw = " ".join(str(error).split())[:200]
        raise BadInput(
            Problem(str(file), "the saved state of a training", f"a damaged file ({flaw})", RESTART)
        ) from error


def history_sha256(run: RunDir, records: int) -> str:
    """Return the sha256 of the first lines of a run's history."""
    return hashlib.sha256("\n".join(run.history_lines()[:records]).encode()).hexdigest()


def _set_aside(run: RunDir, problem: Problem, step: int) -> None:
    """Move the latest state away, so that the next one does not replace the intact one before it."""
    damaged = run.checkpoint / "damaged" / latest(run).name
    with disk_errors(damaged):
        damaged.parent.mkdir(parents=True, exist_ok=True)
        latest(run).replace(damaged)
    text = (
        f"{problem.where}: {problem.found}. The training continues from the state before it, of step {step:,}; "
        f"the damaged one is now {damaged}."
    )
    notices.emit("checkpoint_damaged", text, step=step)


def _check_history(run: RunDir, position: Position) -> None:
    """Refuse a state whose lines of the history have changed since it was saved."""
    records = position["records"]
    if history_sha256(run, records) != position["history_sha256"]:
        expected = f"the {records} lines that were there at step {position['step']:,}"
        raise BadInput(Problem(str(run.history), expected, "other lines", RESTART))


def _check_identity(
    file: Path, position: Position, expected: dict[str, Any], defaults: Mapping[str, Any]
) -> None:
    # A round trip through JSON makes tuples lists, as they are in the file.
    wanted, saved = json.loads(json.dumps(expected)), {**defaults, **position["identity"]}
    differing = [key for key in wanted if wanted[key] != saved.get(key)]
    if differing:
        raise BadInput([_mismatch(file, key, saved.get(key), wanted[key]) for key in differing])


def _mismatch(file: Path, key: str, saved: Any, wanted: Any) -> Problem:
    remedy = "The training's steps depend on it: resume with the original, or train into another directory."
    if len(f"{saved}{wanted}") > 80:  # a hash, or the names of all parameters
        return Problem(str(file), f"the same {key} as when the run was started", "others", remedy)
    return Problem(str(file), f"{key} {saved}, as when the run was started", f"{wanted}", remedy)
