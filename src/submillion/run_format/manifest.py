"""The type of a run's `manifest.json`, and the version of the run format."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from submillion.run_format.quantities import Amount, Count, Number, Share

FORMAT = 2
"""Version of the run directory's layout and files; 2 has one form of interval and predictions of baselines below
`analysis/baselines`."""

Status = Literal["running", "interrupted", "complete"]


class NoticeEntry(TypedDict):
    """A notice as it was printed; each code has further facts of its own."""

    code: str
    text: str


class LabelNamesEntry(TypedDict):
    """Whether a probe was also fitted on the names of the labels; see `fit.label_names`."""

    cosine: Number
    """Mean cosine between the centre of a class and its name."""
    used: bool
    """It was high enough."""


class HeadStartEntry(TypedDict):
    """A probe whose values the output layer had before the first step or at the end; see `fit.head_start`."""

    strength: Number
    """C of the logistic regression."""
    rows: Count
    """Training rows that it was fitted on."""
    training_accuracy: Share
    """Of the output layer with these values, on all training rows."""
    label_names: NotRequired[LabelNamesEntry]
    """With `head.label_names`, and names that have words."""


class TrainingEntry(TypedDict, total=False):
    """The outcome of the training; see `fit.result.FitResult`."""

    best_step: Count | None
    best_epoch: Amount | None
    best_accuracy: Share | None
    best_loss: Number | None
    best_macro_f1: Share | None
    objective: Literal["accuracy", "macro_f1"]
    averaged_steps: Count
    epochs_run: Amount
    steps: Count
    planned_steps: Count
    texts_seen: Count
    tokens_seen: Count
    wall_seconds: Amount
    train_seconds: Amount
    samples_per_second: Amount
    tokens_per_second: Amount
    peak_memory_mb: Amount
    peak_accelerator_mb: Amount | None
    precision: str
    execution: str
    prefix_cached: bool
    prefix_precision: Literal["float", "int8"] | None
    frozen_precision: Literal["float", "int8"]
    processes: Count
    stopped_early: bool
    interrupted: bool
    contrastive_steps: Count
    contrastive_loss: Number | None
    contrastive_seconds: Amount
    head_start: HeadStartEntry | None
    head_finish: HeadStartEntry | None
    probe_seconds: Amount
    cross_validation_seconds: Amount


class MachineEntry(TypedDict, total=False):
    """The machine that trained the run."""

    platform: str
    processor: str
    features: list[str]
    cores: Count | None
    threads: Count
    memory_gb: Amount
    accelerator: str | None


class TokensEntry(TypedDict, total=False):
    """The lengths of a split's texts in tokens, and how many were truncated."""

    rows: Count
    windows: str
    tokens: Count
    mean: Amount
    median: Amount
    p99: Amount
    longest: Count
    truncated: Count
    truncated_share: Share
    unknown: Count
    unknown_share: Share
    unknown_texts: Count
    characters_per_token: Amount


class GitEntry(TypedDict, total=False):
    """The git checkout in which the run was started."""

    commit: str
    dirty: bool


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

    layer: Count
    trainable: Count
    parts: dict[str, Count]


class BudgetEntry(TypedDict):
    """The counted parameters of a run, and its budget."""

    trainable: Count
    total: Count
    parts: dict[str, Count]
    budget: Count
    fits: bool
    by_layer: list[LayerCount]


class SplitEntry(TypedDict):
    """The size and balance of one split."""

    rows: Count
    label_counts: dict[str, Count]
    largest_share: Share
    smallest_share: Share
    fingerprint: str
    """sha256 over labels and texts, in order."""


class LabelForm(TypedDict):
    """How the labels of later rows name the classes of a run; see `data.labels.Classes`."""

    numbered: bool
    """Whether the class names were given to numbers, so that a label may be the number of a class."""
    first: Count | None
    """Number of the first class, 0 or 1, if the training rows show it."""


class EvaluationEntry(TypedDict):
    """Where the rows of a split came from that `evaluate` added."""

    file: str | None
    """Its path, relative to the run if it begins with `./` or `../`; None for rows from memory."""
    sha256: str | None
    text: str | list[str] | None
    """Text columns that were named; None if they were found by their usual names."""
    label: str | None
    rows: Count


class CheckEntry(TypedDict, total=False):
    """The rows that a check found in one split."""

    rows: Count
    dropped: Count | bool
    conflicting_texts: Count


class ChecksEntry(TypedDict, total=False):
    """The results of the checks of the rows; each may have further entries."""

    empty_texts: dict[str, CheckEntry]
    """By split."""
    duplicates: dict[str, CheckEntry]
    train_rows_in_test: CheckEntry
    train_rows_in_validation: CheckEntry
    validation_rows_in_test: CheckEntry


DivisionEntry = TypedDict(
    "DivisionEntry", {"from": str | None, "size": Share | None, "seed": Count, "order": str}, total=False
)
"""Where the rows of a split come from: another split of which they are a share, a source of their own, or nowhere."""


class SourceEntry(TypedDict, total=False):
    """The source of one split."""

    name: str
    origin: str
    licence: str | None
    files: list[str]
    columns: list[dict[str, Any]]
    """`text` (a list) and `label` of the files, without repetition."""
    sha256: dict[str, str]


class CorrectionsEntry(TypedDict):
    """The corrections of training labels by a person; see `data.corrections`."""

    file: str
    sha256: str
    changed: Count
    dropped: Count


class DataEntry(TypedDict):
    """The labelled texts of a run: their origin, their splits, and the results of the checks."""

    name: str
    source: str
    origin: str
    licence: str | None
    labels: list[str]
    splits: dict[str, SplitEntry]
    sources: dict[str, SourceEntry]
    checks: NotRequired[ChecksEntry]
    label_form: NotRequired[LabelForm]
    """How labels name the classes."""
    validation: NotRequired[DivisionEntry]
    """Where the validation rows come from."""
    test: NotRequired[DivisionEntry]
    """Where the test rows come from: `from` source, train (`data.test_size`) or None, if there are none."""
    limit: Count | None
    corrections: NotRequired[CorrectionsEntry]
    """Present if the recipe names corrections."""
    tokens: NotRequired[dict[str, TokensEntry]]
    """Lengths and truncation by split; recorded once the texts are tokenized."""


class ChoiceEntry(TypedDict):
    """One setting that `auto` has decided."""

    field: str
    """Dotted name, such as `lora.r`."""
    value: Any
    reason: str


class DecisionEntry(TypedDict):
    """The decision of `auto` that the recipe of a run is."""

    choices: list[ChoiceEntry]
    facts: dict[str, Any]
    """Texts, tokens, encoder and machine."""
    time: dict[str, Any]
    """Seconds that were expected, by part, and how the speed is known."""


class AdoptionEntry(TypedDict):
    """An adapter that another program trained, and what is known of it; the rest of its training is unknown."""

    source: str
    """As the user named it."""
    origin: str
    """Hub id, or the folder."""
    revision: str | None
    licence: str | None
    sha256: dict[str, str]
    """Of its files, by name."""
    base: str | None
    """The encoder that the adapter names."""
    peft_version: str | None
    pooling: Literal["first", "mean"]
    normalize: NotRequired[bool]
    """Whether the head reads the mean scaled to length 1; runs of earlier versions lack it, and their heads do not."""
    text: str | list[str] | None
    """Text columns of the data it was evaluated on, if they were named."""
    label: str | None
    precision: str
    """Number format of the saved predictions."""
    execution: str
    compared_texts: Count
    """Texts on which the run's adapter was compared with the original."""
    largest_difference: Number
    """Of a logit between the two."""
    unknown: list[str]
    """The facts about its training that nobody knows here."""


class Manifest(TypedDict):
    """Everything about a run but its recipe and its results."""

    format: int
    submillion: str
    """Version of submillion that wrote the run."""
    name: str
    created: str
    """ISO 8601, UTC."""
    status: Status
    seed: Count
    labels: list[str]
    """Class names by index."""
    label_values: NotRequired[list[str | int | float | bool]]
    """The classes as the caller of the Python API passed them, by index; absent if the rows came from files."""
    max_length: Count
    versions: dict[str, str]
    machine: MachineEntry
    git: GitEntry | None
    encoder: EncoderEntry
    budget: BudgetEntry
    data: DataEntry
    notices: NotRequired[list[NoticeEntry]]
    training: NotRequired[TrainingEntry]
    """Steps, seconds, best evaluation; recorded when the training ends."""
    test_held_back: NotRequired[bool]
    """Test rows and report are still to come: a run of a study, or one trained with `report=False`."""
    adopted: NotRequired[AdoptionEntry]
    """Present if another program trained the adapter; such a run has no recipe, data, seed and history."""
    decision: NotRequired[DecisionEntry]
    """Present if `auto` decided the recipe."""
    evaluations: NotRequired[dict[str, EvaluationEntry]]
    """Where the rows of the splits that `evaluate` added came from, by name."""
    unfinished: NotRequired[dict[str, Any]]
    """`task` (evaluate or report) and its arguments, from its first write until the files of the run agree again."""
    files: NotRequired[dict[str, str]]
    """sha256 of recipe, history, predictions, adapter and tokenizer, by path in the run."""
    analysis_files: NotRequired[dict[str, str]]
    """The same of the files below `analysis`."""
