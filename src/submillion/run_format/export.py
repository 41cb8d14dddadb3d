"""The type of export.json, the record of an export: its files, and how far their answers are those of the run."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from submillion.run_format.agreement import SplitAgreement
from submillion.run_format.quantities import Number

EXPORT = "export.json"
"""The name that makes a folder an export."""
FORMAT_VERSION = 2
"""2 has the thresholds per class, and the sample of a file for browsers."""


class FileRecord(SplitAgreement):
    """One file of an export; figures over the rows of all splits together."""

    form: str
    runtime: str
    runtime_version: str
    sha256: str
    parts: dict[str, str]
    """SHA-256 of the files that belong to it, such as the weights of a graph."""
    size_bytes: int
    """With its parts."""
    load_seconds: Number
    texts_per_second: Number
    batch_size: int
    """Texts per call; the ranges of dynamic quantisation are those of a batch."""
    processor: str
    answered_by: str
    """Program and version whose answers are compared: `runtime`, or for a file with a sample one that is faster."""
    by_split: dict[str, SplitAgreement]
    sample: SplitAgreement | None
    """The rows that `runtime` answered itself, if another program answered all; load time and speed are of them."""


class Calibration(TypedDict):
    """The training texts that gave the ranges of activations."""

    rows: int
    seed: int
    sha256: str
    """Of the SHA-256 of each text, in order, as text."""


class RunHashes(TypedDict):
    """The hashes by which the run of an export is recognized."""

    files: dict[str, str]
    """SHA-256 of recipe, adapter and tokenizer, which decide its predictions."""
    predictions: dict[str, str]
    """SHA-256 of the saved predictions that the files were compared with."""
    encoder: dict[str, str]
    """SHA-256 of the encoder's files."""


class ExportedRun(RunHashes):
    """The run that was exported."""

    name: str
    encoder_licence: str | None
    data_licence: str | None


class Reference(TypedDict):
    """The run's own answers on the rows of the proof."""

    execution: str
    texts_per_second: Number
    accuracy: Number | None


class ComparedRows(TypedDict):
    """Rows of the proof."""

    rows: int
    source: str
    """`saved predictions`, or `predicted at the export` for the training rows of a cross-validated run."""


class ExportedThresholds(TypedDict):
    """The thresholds per class that the run's analysis has chosen."""

    objective: str
    rule: str
    """How they answer a text."""
    split: str
    """Whose rows chose them."""
    rows: int
    values: dict[str, Number | None]
    """By class; None for a class that is never answered."""


class RunFacts(TypedDict):
    """What export.json says about the run, before any file is made; `verify` compares it with the run."""

    metadata: str
    """Of the card, as yaml in the format of the Hugging Face hub."""
    run: ExportedRun
    labels: list[str]
    max_length: int
    windows: str
    pooling: str
    """`first`: the model has its head; `mean`: head.safetensors holds it."""
    normalize: NotRequired[bool]
    """Whether that head reads the mean scaled to length 1; exports of earlier versions lack it, and theirs do not."""
    text_columns: NotRequired[list[str]]
    """Columns of the training file whose values, joined with a space, are a text; exports of earlier versions lack
    it."""
    thresholds: ExportedThresholds | None


class ExportRecord(RunFacts):
    """The contents of export.json."""

    format_version: int
    submillion: str
    created: str
    longer_rows: int
    """Rows of the proof longer than max_length tokens: the exported tokenizer reads their beginning alone."""
    max_loss: Number
    """The largest accepted loss of accuracy in points; files that lost more are under `removed`."""
    compared: dict[str, ComparedRows]
    reference: Reference
    calibration: Calibration | None
    files: dict[str, FileRecord]
    removed: dict[str, FileRecord]
    common: dict[str, str]
    """SHA-256 of the files that every form shares: configuration and tokenizer."""
