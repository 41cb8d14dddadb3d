"""The part of a text that reaches the classifier: text beyond the truncation cannot change an answer."""

from __future__ import annotations

from collections.abc import Sequence

from submillion.assess.run_context import RunContext
from submillion.data.tokenizer import load_tokenizer
from submillion.data.truncation import Truncation

TOKENIZER_BATCH = 1024
"""Texts per call of the tokenizer."""
Spans = list[tuple[int, int]]
"""Parts of one text, (start, end) in characters, in order."""


def visible_spans(context: RunContext, texts: Sequence[str]) -> list[Spans]:
    """Return the parts of each text that are left after truncation: one, or two if its middle is dropped.

    Uses the run's tokenizer and recipe only; no encoder is needed.

    Raises:
        BadInput: the run has no tokenizer.
    """
    tokenizer, truncation = load_tokenizer(context.run.tokenizer), Truncation.of(context.recipe.data)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    spans: list[Spans] = []
    for start in range(0, len(texts), TOKENIZER_BATCH):
        batch = list(texts[start : start + TOKENIZER_BATCH])
        for encoding in backend.encode_batch(batch, add_special_tokens=False):
            spans.append(truncation.read(tokenizer, encoding).spans())
    return spans
