"""Explains an answer by occlusion: the words whose removal lowers the log-odds of the answer most."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import logsumexp

MAX_PIECES = 64
"""Pieces of one text; the words of a longer text are removed in groups."""
LONGEST_WORD = 40
"""Characters; a longer run without a space, as in Chinese, is divided into characters."""
_WORD = re.compile(r"\S+")


def pieces_of(text: str) -> list[tuple[int, int]]:
    """Return the places of at most MAX_PIECES pieces of a text, each one or more words, in characters."""
    words: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        if end - start > LONGEST_WORD:
            words += [(place, place + 1) for place in range(start, end)]
        else:
            words.append((start, end))
    if len(words) <= MAX_PIECES:
        return words
    edges = np.linspace(0, len(words), MAX_PIECES + 1).astype(int).tolist()
    return [(words[low][0], words[high - 1][1]) for low, high in pairwise(edges)]


def without(text: str, pieces: Sequence[tuple[int, int]]) -> list[str]:
    """Return the text without each of its pieces."""
    return [text[:start] + text[end:] for start, end in pieces]


def log_odds(logits: np.ndarray, answer: int) -> np.ndarray:
    """Return the log-odds of one class, float64 [N], which do not saturate as its probability does.

    Args:
        logits: of N rows, [N, C], C at least 2.
        answer: index of the class.
    """
    values = logits.astype(np.float64)
    odds: np.ndarray = values[:, answer] - logsumexp(np.delete(values, answer, axis=1), axis=1)
    return odds


def weighed(
    text: str, pieces: Sequence[tuple[int, int]], whole: np.ndarray, parts: np.ndarray, answer: int
) -> list[dict[str, Any]]:
    """Return the pieces with their weights: by how much the log-odds of the answer fall without a piece.

    This is occlusion (Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2; for words Li et al. 2016,
    arXiv:1612.08220), one piece at a time.

    Args:
        text: the text.
        pieces: its P pieces.
        whole: logits of the text, [C].
        parts: logits of the text without each piece, [P, C].
        answer: index of the class to explain.
    """
    falls = log_odds(whole[None], answer) - log_odds(parts, answer) if pieces else np.zeros(0)
    return [
        {"text": text[start:end], "start": start, "end": end, "weight": float(fall)}
        for (start, end), fall in zip(pieces, falls, strict=True)
    ]
