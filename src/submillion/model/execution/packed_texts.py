"""The texts of a batch laid end to end: the input of the executions on packed tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from submillion.errors import SubmillionError

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens


class PackedTexts:
    """Token ids and positions of some texts, end to end."""

    texts: int
    """Number of texts, B."""
    tokens: int
    """Number of tokens, T."""
    offsets: np.ndarray
    """int64 [B + 1]: text i has the tokens offsets[i] to offsets[i + 1]."""
    ids: np.ndarray
    """int32 [T]."""
    positions: np.ndarray
    """int32 [T], rows of the position embeddings."""

    def __init__(self, tokens: Tokens, rows: np.ndarray, position_padding: int | None) -> None:
        """Lay texts end to end.

        Args:
            tokens: the tokenized texts.
            rows: indices of the texts.
            position_padding: see `Family.position_padding`.

        Raises:
            SubmillionError: a text has no tokens.
        """
        rows = np.asarray(rows, dtype=np.int64)
        pieces = [tokens[int(row)] for row in rows]
        lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
        if not len(lengths) or not lengths.all():
            raise SubmillionError("expected at least one token per text, found an empty one")
        self.texts = len(rows)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.tokens = int(self.offsets[-1])
        self.ids = np.ascontiguousarray(np.concatenate(pieces), dtype=np.int32)
        if position_padding is None:
            positions = np.arange(self.tokens) - np.repeat(self.offsets[:-1], lengths)
        else:
            real = self.ids != position_padding
            counted = np.cumsum(real)
            before = np.concatenate([[0], counted])[self.offsets[:-1]]
            positions = (counted - np.repeat(before, lengths)) * real + position_padding
        self.positions = np.ascontiguousarray(positions, dtype=np.int32)
