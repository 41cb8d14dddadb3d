"""The types of the lines in a run's `history.jsonl`."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from submillion.run_format.quantities import Amount, Count, Number, Share


class TrainRecord(TypedDict):
    """The state of the training after a step; means are over the steps since the last such line."""

    kind: Literal["train"]
    step: Count
    epoch: Amount
    loss: Number
    learning_rate: Amount
    grad_norm: NotRequired[Number | None]
    samples_per_s: NotRequired[Amount]
    tokens_per_s: NotRequired[Amount]


class ContrastiveRecord(TypedDict):
    """The state of the contrastive stage after a step of its own; means are over the steps since the last such line."""

    kind: Literal["contrastive"]
    step: Count
    loss: Number
    learning_rate: Amount
    grad_norm: NotRequired[Number | None]
    samples_per_s: NotRequired[Amount]
    tokens_per_s: NotRequired[Amount]


class OtherScores(TypedDict):
    """The scores of those trained values that were not the better ones of an evaluation."""

    loss: Number
    accuracy: Share
    macro_f1: Share


class EvalRecord(TypedDict):
    """An evaluation on the validation rows; of a step and of an average over steps, it has the better scores."""

    kind: Literal["eval"]
    step: Count
    epoch: Amount
    loss: Number
    accuracy: Share
    macro_f1: Share
    best: NotRequired[bool]
    averaged_steps: NotRequired[Count]
    """Steps in the average that has these scores; 0 if the values of the step have them."""
    other: NotRequired[OtherScores]
    seconds: NotRequired[Amount]


HistoryRecord = Annotated[TrainRecord | ContrastiveRecord | EvalRecord, Field(discriminator="kind")]
