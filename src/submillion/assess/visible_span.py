"""Which part of a text reaches the classifier: what lies behind the cut cannot change an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from submillion.assess.run_context import RunContext

CHUNK = 1024  # texts per call of the tokenizer


def seen_spans(context: RunContext, texts: Sequence[str]) -> list[tuple[int, int]]:
    """Return (start, end) in characters of what the run's tokenizer leaves of each text.

    Read from the run's tokenizer and recipe alone; no encoder is needed.

    Raises:
        BadInput: the run has no tokenizer.
    """
    from submillion.data.tokens import load_tokenizer

    tokenizer, limit = load_tokenizer(context.run.tokenizer), context.recipe.data.max_length
    spans = []
    for begin in range(0, len(texts), CHUNK):
        chunk = list(texts[begin : begin + CHUNK])
        encoded = tokenizer(chunk, truncation=True, max_length=limit, return_offsets_mapping=True)
        for offsets in encoded["offset_mapping"]:
            read = [span for span in offsets if span[1] > span[0]]  # special tokens have none
            spans.append((read[0][0], read[-1][1]) if read else (0, 0))
    return spans
