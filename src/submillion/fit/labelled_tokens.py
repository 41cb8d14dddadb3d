"""Tokenized texts with their labels: the form of the training set and of the validation set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from submillion.data.tokens import Tokens
from submillion.model.prefix import PrefixRows
from submillion.model.protocol import States


@dataclass(frozen=True)
class LabelledTokens:
    """N tokenized texts with one label each."""

    tokens: Tokens
    labels: np.ndarray
    """Class index per text, int64 [N]."""
    prefix: States | None = None
    """Cached output of the layers below the lowest adapter; None runs these layers at every pass."""
    names: Tokens | None = None
    """Texts made of the names of the labels, which a probe is also fitted on; see `data.label_texts`."""

    @classmethod
    def of(cls, tokens: Tokens, labels: Sequence[int] | np.ndarray) -> LabelledTokens:
        """Combine N tokenized texts with their N class indices."""
        return cls(tokens, np.asarray(labels, dtype=np.int64))

    def take(self, rows: np.ndarray) -> LabelledTokens:
        """Return some of the texts, with their part of the cached prefix."""
        prefix = None if self.prefix is None else PrefixRows(self.prefix, rows)
        return LabelledTokens(self.tokens.take(rows), self.labels[rows], prefix, self.names)
