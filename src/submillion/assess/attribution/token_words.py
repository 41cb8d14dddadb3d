"""Maps the tokens of a text to its words, which joined give the text again."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MAX_WORD = 40
"""Characters; a longer run without spaces is not one word."""
_BETWEEN_SPACES = re.compile(r"\S+")
# Scripts written without spaces: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)


@dataclass(frozen=True)
class TokenWords:
    """The part of one text that the model reads: S tokens, W words."""

    ids: list[int]
    """Token ids [S], special tokens included."""
    special: list[bool]
    """Which of them are special tokens [S]."""
    word_of: list[int]
    """Index of the word of each token [S]; -1 for special tokens."""
    words: list[str]
    """[W], each with the spaces after it (the first also with those before it); joined, they are the text as read."""
    cut: bool
    """Whether the text is truncated."""


def split_words(tokenizer: PreTrainedTokenizerFast, text: str, max_length: int) -> TokenWords:
    """Truncate a text as `data.tokens.encode` does, and split it into words at its spaces.

    In a script without spaces, or a run of more than 40 characters without one, each token begins a word.

    Args:
        tokenizer: the run's tokenizer.
        text: one text.
        max_length: maximum tokens, special ones included.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    encoding = backend.encode(text, add_special_tokens=False)
    room = max_length - tokenizer.num_special_tokens_to_add(pair=False)
    cut, left = len(encoding) > room, tokenizer.truncation_side == "left"
    if cut:
        encoding.truncate(room, direction=tokenizer.truncation_side)
    spans = encoding.offsets
    start = spans[0][0] if cut and left else 0
    end = spans[-1][1] if cut and not left else len(text)
    whole = backend.post_process(encoding)
    special = [bool(flag) for flag in whole.special_tokens_mask]
    begins = sorted({_first_letter(text, *span) for span in spans})
    starts = _word_starts(text, start, end, begins)
    word_of = [
        -1 if flag or not starts else max(bisect.bisect_right(starts, _first_letter(text, *span)) - 1, 0)
        for span, flag in zip(whole.offsets, special, strict=True)
    ]
    edges = [start, *starts[1:], end]
    words = [text[low:high] for low, high in pairwise(edges)] if starts else []
    return TokenWords(list(whole.ids), special, word_of, words, cut)


def _word_starts(text: str, start: int, end: int, token_starts: list[int]) -> list[int]:
    starts: list[int] = []
    for match in _BETWEEN_SPACES.finditer(text, start, end):
        starts.append(match.start())
        if match.end() - match.start() > MAX_WORD or _UNSPACED.search(match.group()):
            low = bisect.bisect_right(token_starts, match.start())
            high = bisect.bisect_left(token_starts, match.end())
            starts += token_starts[low:high]
    return starts


def _first_letter(text: str, start: int, end: int) -> int:
    """Return the position of a token's first character that is no space; some tokenizers include the space before."""
    return start + len(text[start:end]) - len(text[start:end].lstrip())
