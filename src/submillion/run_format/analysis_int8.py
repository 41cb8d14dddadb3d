"""The types of the analysis parts "int8" and "prefix_int8": whether int8 changed answers, and how it was calibrated."""

from __future__ import annotations

from typing_extensions import TypedDict

from submillion.run_format.agreement import SplitAgreement
from submillion.run_format.quantities import Amount, Count, Number, Share


class Int8Matrix(TypedDict):
    """One matrix of the encoder."""

    layer: Count
    """From 0."""
    matrix: str
    """The target, such as `ffn_down`."""


class Int8Calibration(TypedDict):
    """How well int8 holds the products of each matrix, measured on training texts."""

    rows: Count
    """Training texts: of "int8" drawn with the run's seed, of "prefix_int8" evenly spaced."""
    tokens: Count
    sha256: str
    """Of the SHA-256 of each text, in order, as text."""
    errors: dict[str, list[Amount]]
    """By target, one per layer: root of the mean squared error of the products, as a share of their standard deviation
    over tokens."""
    largest_error: Number
    """A matrix above it stays in float."""


class Int8Comparison(TypedDict):
    """Answers with layers in int8, compared with those of the run."""

    rule: Count
    """Version of the arithmetic; a proof of another version does not count."""
    execution: str
    """The kernels that ran in int8."""
    calibration: Int8Calibration
    float_matrices: list[Int8Matrix]
    split: str
    """Whose rows were answered."""
    agreement: SplitAgreement
    """Of the answers in int8 with the run's saved predictions."""
    least_equal: Share
    """Share of rows that must have the same class."""
    largest_difference: Share
    """Of the accuracies; the whole interval must be within it."""
    least_rows: Count
    """Labelled rows below which even equal answers are no proof."""
    proven: bool
    reason: str
    """One sentence."""


class Int8(Int8Comparison):
    """The part "int8": whether the run may predict in int8."""

    adapter: dict[str, str]
    """SHA-256 of the adapter's files, by path in the run."""


class PrefixInt8(Int8Comparison):
    """The part "prefix_int8": the answers of the run if the layers that the training cached in int8 run in int8."""

    layers: Count
    """The layers below the lowest adapter."""
