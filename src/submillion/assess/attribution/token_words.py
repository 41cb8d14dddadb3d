"""Texts as words that their tokens belong to: where each word stands, and the text put together from them again."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LONGEST = 40  # characters; what is longer without a space is no word
_BETWEEN_SPACES = re.compile(r"\S+")
# Scripts written without spaces: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)


@dataclass(frozen=True)
class Pieces:
    """What the model reads of one text: S tokens, W words."""

    ids: list[int]
    """Token ids [S], special tokens included."""
    special: list[bool]
    """Which of them are special tokens [S]."""
    word_of: list[int]
    """The word that each token belongs to [S]; -1 for special tokens."""
    words: list[str]
    """[W], each with the spaces after it (the first also with those before it); joined, they are what is read."""
    cut: bool
    """Whether the text goes on where the model stops reading."""


def pieces_of(tokenizer: PreTrainedTokenizerFast, text: str, max_length: int) -> Pieces:
    """Cut a text as `data.tokens.encode` does, and into words at its spaces.

    Where a script has no spaces, or none for 40 characters, each token that begins there begins a word.
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
    return Pieces(list(whole.ids), special, word_of, words, cut)


def _word_starts(text: str, start: int, end: int, token_starts: list[int]) -> list[int]:
    starts: list[int] = []
    for match in _BETWEEN_SPACES.finditer(text, start, end):
        starts.append(match.start())
        if match.end() - match.start() > LONGEST or _UNSPACED.search(match.group()):
            low = bisect.bisect_right(token_starts, match.start())
            high = bisect.bisect_left(token_starts, match.end())
            starts += token_starts[low:high]
    return starts


def _first_letter(text: str, start: int, end: int) -> int:
    """Return where a token's first character stands that is no space; some tokenizers count the one before in."""
    return start + len(text[start:end]) - len(text[start:end].lstrip())
