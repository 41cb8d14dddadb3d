"""Texts of a batch laid end to end, as the executions on packed tokens take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from submillion.errors import SubmillionError

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens


class PackedTexts:
    """Token ids and positions of some texts, end to end."""

    def __init__(self, tokens: Tokens, rows: np.ndarray, padding_index: int | None) -> None:
        rows = np.asarray(rows, dtype=np.int64)
        pieces = [tokens[int(row)] for row in rows]
        lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
        if not len(lengths) or not lengths.all():
            raise SubmillionError("expected texts of one token at least, found one without any")
        self.texts = len(rows)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.tokens = int(self.offsets[-1])
        self.ids = np.ascontiguousarray(np.concatenate(pieces), dtype=np.int32)
        if padding_index is None:
            positions = np.arange(self.tokens) - np.repeat(self.offsets[:-1], lengths)
        else:
            real = self.ids != padding_index
            counted = np.cumsum(real)
            before = np.concatenate([[0], counted])[self.offsets[:-1]]
            positions = (counted - np.repeat(before, lengths)) * real + padding_index
        self.positions = np.ascontiguousarray(positions, dtype=np.int32)
