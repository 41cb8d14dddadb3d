"""The type of the analysis part "attribution": the weight of every word of some texts."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator
from typing_extensions import TypedDict

from submillion.run_format.interval import Interval
from submillion.run_format.quantities import Count, Number, Share


class Deletion(TypedDict):
    """Fall of the answer's probability when words are deleted."""

    words: Count
    """Number deleted."""
    top: Number
    """Deleting the words of highest weight."""
    random: Number
    """Deleting as many at random, mean of 5 draws."""


def _word_and_weight(value: list[Any]) -> list[Any]:
    word, weight = value if len(value) == 2 else (None, None)
    if not isinstance(word, str) or isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ValueError("a word and its weight")
    return value


Word = Annotated[list[Any], AfterValidator(_word_and_weight)]
"""[word, weight]."""


class Completeness(TypedDict):
    """How far the weights are from adding up to the score."""

    texts: Count
    mean_share: Number
    largest_share: Number


class DeletionCurve(TypedDict):
    """The fall of the probability over all texts when a number of words is deleted."""

    words: Count
    texts: Count
    top: Interval
    random: Interval
    difference: Interval


class Faithfulness(TypedDict):
    """The deletions of all texts together."""

    draws: Count
    """Random deletions for each number of words."""
    curve: list[DeletionCurve]
    """By number of deleted words."""


class ExplainedText(TypedDict):
    """One explained answer; None in what was not measured."""

    row: Count
    id: str
    kind: str
    """`confident_mistake`, `least_sure_right` or `sure_right`."""
    true: str
    predicted: str
    probability: Share
    """Of the predicted class, as saved."""
    reference_probability: Share | None
    """Of the same class, as explained; the two differ by rounding."""
    tokens: Count
    """As read, special tokens included."""
    cut: bool
    """Whether a part of the text is not read: its end, with some tokenizers its beginning, or its middle."""
    gap: Count | None
    """Number of words before the middle that is not read; None if the middle is read."""
    words: list[Word]
    """[word, weight] in the order of the text; the words joined are exactly what was read, spaces included."""
    score: Number | None
    """Log-odds of the predicted class, natural logarithm."""
    baseline_score: Number | None
    """The same for the text of mask tokens."""
    completeness_error: Number | None
    """Sum of the weights minus (score minus baseline score)."""
    completeness_share: Number | None
    """Its absolute value as a share of the sum of absolute weights."""
    steps: Count | None
    """Points on the path."""
    deletions: list[Deletion] | None


class Attribution(TypedDict):
    """The part "attribution"."""

    split: str
    rows: Count
    method: str
    limitations: str
    baseline_token: str | None
    """Such as `[MASK]`."""
    most_tokens: Count
    skipped: Count
    """Rows with more tokens, or fewer than two words: never chosen."""
    texts: list[ExplainedText]
    completeness: Completeness | None
    """None without texts."""
    faithfulness: Faithfulness
