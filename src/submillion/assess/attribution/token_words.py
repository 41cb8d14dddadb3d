"""Maps the tokens of a text to its words, which joined give the text again."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from submillion.data.truncation import ReadTokens, Truncation

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
    """[W], each with the spaces after it (the first also with those before it); joined, they are the text as read. No
    word reaches over a part that is not read."""
    cut: bool
    """Whether the text is truncated."""
    gap: int | None
    """Words before the middle that is not read; None if only an end is cut off, or nothing."""


def split_words(tokenizer: PreTrainedTokenizerFast, text: str, truncation: Truncation) -> TokenWords:
    """Truncate a text as `data.tokens.encode` does, and split it into words at its spaces.

    In a script without spaces, or a run of more than 40 characters without one, each token begins a word.

    Args:
        tokenizer: the run's tokenizer.
        text: one text.
        truncation: the longest input, and which tokens of a longer text are read.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    encoding = backend.encode(text, add_special_tokens=False)
    cut = len(encoding) > truncation.room(tokenizer)
    read = truncation.read(tokenizer, encoding)
    word_of: list[int] = []
    words: list[str] = []
    gap = None
    for (low, high), span in zip(read.parts, _spans(read, cut, tokenizer, len(text)), strict=True):
        if low:
            gap = len(words)
        letters = [_first_letter(text, *offsets) for offsets in read.offsets[low:high]]
        special = read.special[low:high]
        begins = sorted({place for place, flag in zip(letters, special, strict=True) if not flag})
        starts = _word_starts(text, *span, begins)
        word_of += [
            -1 if flag or not starts else len(words) + max(bisect.bisect_right(starts, place) - 1, 0)
            for place, flag in zip(letters, special, strict=True)
        ]
        edges = [span[0], *starts[1:], span[1]]
        words += [text[one:other] for one, other in pairwise(edges)] if starts else []
    return TokenWords(read.ids, read.special, word_of, words, cut, gap)


def _spans(
    read: ReadTokens, cut: bool, tokenizer: PreTrainedTokenizerFast, length: int
) -> list[tuple[int, int]]:
    """Return the part of the text that each part of the tokens covers; where nothing is cut, it reaches the edge."""
    spans = read.spans()
    left = cut and read.gap is None and tokenizer.truncation_side == "left"
    if not left:
        spans[0] = 0, spans[0][1]
    if left or not cut or read.gap is not None:
        spans[-1] = spans[-1][0], length
    return spans


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
