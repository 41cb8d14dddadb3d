"""The part of a text that reaches the classifier: text beyond the truncation cannot change an answer."""

from __future__ import annotations

from collections.abc import Sequence

from submillion.assess.run_context import RunContext
from submillion.data.tokenizer import load_tokenizer

TOKENIZER_BATCH = 1024
"""Texts per call of the tokenizer."""


def visible_spans(context: RunContext, texts: Sequence[str]) -> list[tuple[int, int]]:
    """Return the span of each text that is left after truncation, (start, end) in characters.

    Uses the run's tokenizer and recipe only; no encoder is needed.

    Raises:
        BadInput: the run has no tokenizer.
    """
    tokenizer, limit = load_tokenizer(context.run.tokenizer), context.recipe.data.max_length
    spans = []
    for start in range(0, len(texts), TOKENIZER_BATCH):
        batch = list(texts[start : start + TOKENIZER_BATCH])
        encoded = tokenizer(batch, truncation=True, max_length=limit, return_offsets_mapping=True)
        for offsets in encoded["offset_mapping"]:
            tokens = [span for span in offsets if span[1] > span[0]]  # special tokens have an empty span
            spans.append((tokens[0][0], tokens[-1][1]) if tokens else (0, 0))
    return spans
