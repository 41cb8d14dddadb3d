"""The types of the part "cross_validation" of an analysis."""

from __future__ import annotations

from typing_extensions import TypedDict

from submillion.run_format.interval import Interval
from submillion.run_format.quantities import Count, Share


class Scores(TypedDict):
    """The scores of some rows."""

    accuracy: Share
    macro_f1: Share


class RepeatScores(Scores):
    """The scores of all rows in one repeat, each row predicted by the model of the fold that held it out."""

    repeat: Count
    """From 1."""


class FoldScores(RepeatScores):
    """The scores of the rows that one fold held out."""

    fold: Count
    """From 1."""
    rows: Count
    trained_on: Count
    """Rows that its model was trained on."""


class CrossValidated(TypedDict):
    """The part "cross_validation"."""

    meaning: str
    limitations: str
    folds: Count
    """Of each repeat."""
    repeats: Count
    rows: Count
    """Rows that are predicted in every repeat."""
    never_predicted: Count
    """Further training rows: those of classes with a single text, and texts with contradictory labels."""
    scores: list[FoldScores]
    by_repeat: list[RepeatScores]
    accuracy: Interval
    """Mean over the repeats."""
    macro_f1: Interval
    """Mean over the repeats."""
