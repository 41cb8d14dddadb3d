"""The position of a saved training: the types of its JSON values, checked when a file is read."""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from submillion.run_format.manifest import HeadStartEntry

Count = Annotated[int, Field(ge=0, strict=True)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class StoppingState(TypedDict):
    """See `Stopping`."""

    patience: Count
    objective: Literal["accuracy", "macro_f1"]
    best_step: Count | None
    best_epoch: int | float | None
    best_accuracy: Number | None
    best_loss: Number | None
    best_macro_f1: Number | None
    averaged_steps: Count
    lowest_loss: Number | None
    without_progress: Count


class WindowState(TypedDict):
    """See `Window`."""

    losses: list[Number]
    norms: list[Number]
    texts: Count
    tokens: Count
    seconds: Seconds
    spent_before: Seconds


class TotalsState(TypedDict):
    """See `Totals`."""

    texts: Count
    tokens: Count
    train_seconds: Seconds
    eval_seconds: Seconds
    wall_seconds: Seconds
    probe_seconds: Seconds


class Position(TypedDict):
    """Everything in a saved state but its tensors."""

    identity: dict[str, Any]
    """See `training_identity`."""
    step: Count
    evaluated: Annotated[int, Field(ge=-1, strict=True)]
    """Step of the last evaluation, or -1; see `TrainingState`."""
    contrastive: Count
    """Steps of the contrastive stage."""
    contrastive_totals: TotalsState
    contrastive_loss: Number | None
    head_start: HeadStartEntry | None
    records: Count
    """Lines of the history."""
    history_sha256: str
    """Of these lines."""
    stopping: StoppingState
    window: WindowState
    totals: TotalsState


def position_of(text: str) -> Position:
    """Return the position in a JSON text.

    Raises:
        ValueError: it is no JSON, or a value has another type than it must have.
    """
    return _adapter().validate_python(json.loads(text), strict=True)


@cache
def _adapter() -> TypeAdapter[Position]:
    return TypeAdapter(Position)
