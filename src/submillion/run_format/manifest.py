"""The type of a run's `manifest.json`, and the version of the run format."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

FORMAT = 2
"""Version of the run directory's layout and files; 2 has one form of interval and predictions of baselines below
`analysis/baselines`."""

Status = Literal["running", "interrupted", "complete"]


class EncoderEntry(TypedDict):
    """The pretrained encoder of a run."""

    source: str
    """As the recipe names it."""
    revision: str | None
    """Commit of the hub repository, if it came from there."""
    name: str
    origin: str
    via: str
    """What delivered the files: a wheel, a hub or a folder."""
    licence: str | None
    model_type: str
    sha256: dict[str, str]
    """By file name."""


class LayerCount(TypedDict):
    """Trainable parameters of one encoder layer."""

    layer: int
    trainable: int
    parts: dict[str, int]


class BudgetEntry(TypedDict):
    """The counted parameters of a run, and its budget."""

    trainable: int
    total: int
    parts: dict[str, int]
    budget: int
    fits: bool
    by_layer: list[LayerCount]


class SplitEntry(TypedDict):
    """The size and balance of one split."""

    rows: int
    label_counts: dict[str, int]
    largest_share: float
    smallest_share: float
    fingerprint: str
    """sha256 over labels and texts, in order."""


class DataEntry(TypedDict):
    """The labelled texts of a run: their origin, their splits, and the results of the checks."""

    name: str
    source: str
    origin: str
    licence: str | None
    labels: list[str]
    splits: dict[str, SplitEntry]
    sources: dict[str, dict[str, Any]]
    checks: dict[str, Any]
    validation: dict[str, Any]
    limit: int | None
    tokens: NotRequired[dict[str, dict[str, Any]]]
    """Lengths and truncation by split; recorded once the texts are tokenized."""


class Manifest(TypedDict):
    """Everything about a run but its recipe and its results."""

    format: int
    submillion: str
    """Version of submillion that wrote the run."""
    name: str
    created: str
    """ISO 8601, UTC."""
    status: Status
    seed: int
    labels: list[str]
    """Class names by index."""
    label_type: str
    """Type of the labels as they were passed: `str` for files; `int`, `bool` or `float` for rows from memory."""
    max_length: int
    versions: dict[str, str]
    machine: dict[str, Any]
    git: dict[str, Any] | None
    encoder: EncoderEntry
    budget: BudgetEntry
    data: DataEntry
    notices: NotRequired[list[dict[str, Any]]]
    training: NotRequired[dict[str, Any]]
    """Steps, seconds, best evaluation; recorded when the training ends."""
    test_held_back: NotRequired[bool]
    """The run belongs to a study that has not looked at its test rows yet."""
    unfinished: NotRequired[dict[str, Any]]
    """`task` (evaluate or report) and its arguments, from its first write until the files of the run agree again."""
    files: NotRequired[dict[str, str]]
    """sha256 of recipe, history, predictions, adapter and tokenizer, by path in the run."""
    analysis_files: NotRequired[dict[str, str]]
    """The same of the files below `analysis`."""
