"""Groups of rows whose accuracy is compared: by length, truncation, new words and columns of the user's file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from submillion.assess.run_context import RunContext
from submillion.assess.statistics.slices import BINS, SMALLEST, quantile_groups
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation

MAX_VALUES = 12
"""Values of a column with a group of their own."""
OTHER_VALUES = "other values"
EMPTY = "(empty)"
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class RowGroups:
    """The rows of a split, grouped by one property."""

    title: str
    meaning: str
    """How rows are grouped, in one or two sentences."""
    limitations: str
    """What a comparison of the groups does not show."""
    groups: Mapping[str, np.ndarray]
    """bool [N] by name of the group; at most one group if all rows are alike."""
    facts: dict[str, Any]
    """Numbers that are specific to the property."""


def groups_of(context: RunContext) -> dict[str, RowGroups]:
    """Return the groups of the rows of `context.split` by each property.

    Raises:
        BadInput: the texts are not those that were predicted.
    """
    by_length, by_truncation = _by_length_and_truncation(context)
    groups = {"length": by_length, "cut": by_truncation}
    if not context.adopted:  # the training texts of an adopted run are unknown
        groups["novelty"] = _by_novelty(context)
    columns = context.scored_split.extra.items()
    return groups | {f"column {name}": by_column(name, values) for name, values in columns}


def by_column(name: str, values: Sequence[str]) -> RowGroups:
    """Return groups of rows by their value in a column of the user's file.

    Args:
        name: of the column.
        values: one per row, "" for an empty cell.
    """
    column = np.array([value or EMPTY for value in values], dtype=object)
    distinct, counts = np.unique(column.astype(str), return_counts=True)
    ranked = sorted(
        zip(counts.tolist(), distinct.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1])
    )
    own = [value for count, value in ranked if count >= SMALLEST][:MAX_VALUES]
    others = [value for _, value in ranked if value not in own]
    groups = {value: column == value for value in own}
    if others:
        groups[others[0] if len(others) == 1 else OTHER_VALUES] = np.isin(column, others)
    return RowGroups(
        title=f"Column '{name}'",
        meaning=f"Rows by their value in the column '{name}'. Values of fewer than {SMALLEST} rows, and those after "
        f"the {MAX_VALUES} most frequent ones, form one group.",
        limitations="The values may differ in class, length or subject. Class is accounted for in the comparison "
        "within classes, nothing else is.",
        groups=groups,
        facts={"values": len(ranked), "other_values": len(others)},
    )


def new_word_share(texts: Sequence[str], known: set[str]) -> np.ndarray:
    """Return the share of each text's words that are not known, float64 [N]; 0 for a text without words."""
    shares = np.zeros(len(texts))
    for row, text in enumerate(texts):
        words = casefolded_words(text)
        shares[row] = sum(word not in known for word in words) / max(len(words), 1)
    return shares


def casefolded_words(text: str) -> list[str]:
    """Return the runs of letters and digits of a text, casefolded."""
    return _WORD.findall(text.casefold())


def _by_length_and_truncation(context: RunContext) -> tuple[RowGroups, RowGroups]:
    rule = Truncation.of(context.recipe.data)
    tokens = encode(load_tokenizer(context.run.tokenizer), context.texts(context.split), rule)
    # Windows repeat the special tokens, so that a text that is read in several has more tokens than it has alone.
    full, read = tokens.full_lengths, np.minimum(tokens.lengths, tokens.full_lengths)
    lost = (full - read) / full.clip(min=1)
    truncation = {
        "read completely": lost == 0,
        "up to half cut off": (lost > 0) & (lost <= 0.5),
        "more than half cut off": lost > 0.5,
    }
    by_length = RowGroups(
        title="Length of the text",
        meaning=f"Rows in {BINS} groups of about equal size by the length of the text in tokens, including special "
        "tokens and truncated ones.",
        limitations="Long and short texts differ in more than length: in source, style and class. Class is accounted "
        "for in the comparison within classes, the rest is not.",
        groups=quantile_groups(full, "tokens"),
        facts={
            "longest": int(full.max(initial=0)),
            "mean": float(full.mean()) if len(full) else None,
        },
    )
    by_truncation = RowGroups(
        title="Truncated part of the text",
        meaning="Rows whose text is read completely, and rows of which up to half, or more, is cut off.",
        limitations="Whether the truncated part would have changed the answer. Truncated texts are also long ones, so "
        "the effects of length and truncation cannot be separated.",
        groups={name: mask for name, mask in truncation.items() if mask.any()},
        facts={
            "max_length": rule.max_length,
            "rows_cut": tokens.truncated,
            "tokens_cut": int((full - read).sum()),
        },
    )
    return by_length, by_truncation


def _by_novelty(context: RunContext) -> RowGroups:
    known: set[str] = set()
    for text in context.train.texts:
        known.update(casefolded_words(text))
    shares = new_word_share(context.texts(context.split), known)
    return RowGroups(
        title="Words that do not occur in training",
        meaning=f"Rows in {BINS} groups of about equal size by the share of their words (letters and digits, ignoring "
        "case) that occur in no training text.",
        limitations="Known words in a new sense, new combinations of words, and word pieces that the encoder knows "
        "from pretraining. Misspellings and numbers count as new words.",
        groups=quantile_groups(shares, "new words", share=True),
        facts={
            "words_in_training": len(known),
            "mean_share_new": float(shares.mean()) if len(shares) else None,
            "rows_with_new_words": int((shares > 0).sum()),
        },
    )
