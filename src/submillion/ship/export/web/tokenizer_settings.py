"""The settings with which the browser's tokenizer reads exactly what the run's tokenizer reads."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from submillion.errors import BadInput, Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Ranges = list[tuple[int, int]]

_SEPARATOR = "|"  # a normalizer leaves it alone
_STAND_INS = "\U00010340\U00010400\U00010451\U00010480"  # letters of old scripts
# Surrogates are no characters; both sides treat control characters alike.
_POINTS = [
    point for point in range(0x20, 0x110000) if not 0xD800 <= point < 0xE000 and chr(point) != _SEPARATOR
]


def tokenizer_settings(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return what the browser needs beside tokenizer.json.

    Args:
        tokenizer: of the run, with the run's length and side of truncation.

    Raises:
        BadInput: special tokens are not put around a text.
    """
    before, after = _around(tokenizer)
    gone = _dropped(tokenizer)
    ordinary, stand_in = _ordinary(tokenizer, gone)
    normalizer = json.dumps(_part(tokenizer, "normalizer"))
    return {
        "max_length": tokenizer.model_max_length,
        "side": tokenizer.truncation_side,
        "before": before,
        "after": after,
        "pad": tokenizer.pad_token_id or 0,
        "lowercase": '"lowercase": true' in normalizer or '"Lowercase"' in normalizer,
        "dropped": _ranges(gone),
        "ordinary": _ranges(ordinary),
        "stand_in": stand_in,
    }


def _part(tokenizer: PreTrainedTokenizerFast, name: str) -> dict[str, Any]:
    part: dict[str, Any] | None = json.loads(tokenizer.backend_tokenizer.to_str())[name]
    return part or {}


def _around(tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    """Return the special tokens before and after every text."""
    backend = tokenizer.backend_tokenizer
    bare = backend.encode("a b", add_special_tokens=False).ids
    whole = backend.encode("a b").ids
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return whole[:start], whole[start + len(bare) :]
    expected = "a tokenizer that puts its special tokens around a text"
    raise BadInput(Problem("@{to} web", expected, "one that changes the tokens of the text"))


def _dropped(tokenizer: PreTrainedTokenizerFast) -> set[int]:
    """Return the code points that the normalizer deletes.

    They are deleted before the browser's normalizer reads the text, whose tables are of another version of Unicode.
    """
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is None:
        return set()
    pieces = normalizer.normalize_str(_SEPARATOR.join(f"x{chr(point)}x" for point in _POINTS)).split(
        _SEPARATOR
    )
    if len(pieces) != len(_POINTS):
        return set()
    return {point for point, piece in zip(_POINTS, pieces, strict=True) if piece == "xx"}


def _ordinary(tokenizer: PreTrainedTokenizerFast, gone: set[int]) -> tuple[set[int], str | None]:
    """Return code points that BERT's tokenizer takes for letters but the browser may not, and a letter to read instead.

    The tables of BERT's tokenizer are those of Unicode 8: a later mark or a later punctuation character is part of the
    word around it, which is then unknown. So is a word with the letter that is returned, which the vocabulary lacks.
    """
    kinds = [_part(tokenizer, name).get("type") for name in ("normalizer", "pre_tokenizer", "model")]
    if kinds != ["BertNormalizer", "BertPreTokenizer", "WordPiece"]:
        return set(), None
    known = {character for word in tokenizer.get_vocab() for character in word}
    stand_in = next((letter for letter in _STAND_INS if letter not in known), None)
    if stand_in is None:
        return set(), None
    categories = {point: unicodedata.category(chr(point)) for point in _POINTS}
    doubtful = {
        point
        for point, category in categories.items()
        if (category in ("Mn", "Cn") or category.startswith("P"))
        and point not in gone
        and chr(point) not in known
    }
    words = " ".join(f"x{chr(point)}x" for point in sorted(doubtful) if categories[point] != "Cn")
    whole = {word for word, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(words)}
    ordinary = {point for point in doubtful if categories[point] == "Cn" or f"x{chr(point)}x" in whole}
    return ordinary, stand_in


def _ranges(points: Iterable[int]) -> Ranges:
    """Return code points as ranges with both ends."""
    ranges: Ranges = []
    for point in sorted(points):
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1] = ranges[-1][0], point
        else:
            ranges.append((point, point))
    return ranges
