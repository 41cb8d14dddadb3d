"""Which texts go through the model together: batches of like length, ordered by seed and epoch alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from submillion.data.tokens import Tokens

# Texts are sorted by length within pools of this many batches: long enough that a batch hardly needs padding,
# short enough that batches keep differing from epoch to epoch.
POOL_BATCHES = 50


def length_grouped(
    lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Return one epoch's batches of row indices; every row is in exactly one batch.

    The first batch of epoch 0 holds the longest texts of all: no later batch needs more memory, padded or
    packed, so a run that does not fit fails at its start. Texts that all count as equally long are shuffled.

    Args:
        lengths: tokens per text [N].
        batch_size: rows per batch.
        seed: the recipe's seed.
        epoch: counted from 0.

    Returns:
        ceil(N / batch_size) int64 arrays; one of them, at any place, may be shorter than the others.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = _permutation(len(sizes), seed, epoch)
    first: list[np.ndarray] = []
    if epoch == 0 and len(sizes):
        longest = _longest_first(sizes[order])
        first = [order[longest[:batch_size]]]
        order = order[np.sort(longest[batch_size:])]
    pools = _cut(order, POOL_BATCHES * batch_size)
    batches = [batch for pool in pools for batch in _cut(pool[_longest_first(sizes[pool])], batch_size)]
    shuffled = _permutation(len(batches), seed, epoch, stream=1)
    return first + [batches[index] for index in shuffled]


def sequential(lengths: Sequence[int] | np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Return batches for evaluation: every row once, the longest texts first, hardly any padding.

    Args:
        lengths: tokens per text [N].
        batch_size: rows per batch.
    """
    return _cut(_longest_first(np.asarray(lengths, dtype=np.int64)), batch_size)


def collate(tokens: Tokens, rows: Sequence[int] | np.ndarray, pad_id: int) -> dict[str, torch.Tensor]:
    """Return a padded batch, as wide as its longest text.

    Returns:
        `input_ids` and `attention_mask`, int64 [B, S]; padding stands on the right and has mask 0.
    """
    import torch

    rows = np.asarray(rows, dtype=np.int64)
    starts = tokens.offsets[rows]
    lengths = tokens.offsets[rows + 1] - starts
    columns = np.arange(lengths.max(initial=0))
    mask = columns < lengths[:, None]  # [B, S]
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = tokens.ids[(starts[:, None] + columns)[mask]]
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
    }


def _longest_first(sizes: np.ndarray) -> np.ndarray:
    """Return the order by falling length; texts of one length keep their order."""
    return np.argsort(-sizes, kind="stable")


def _cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _permutation(n: int, seed: int, epoch: int, stream: int = 0) -> np.ndarray:
    """Return a permutation of n that no numpy release changes.

    `Generator.permutation` may change between releases (NEP 19); PCG64's raw numbers may not.
    """
    raw = np.random.PCG64(np.random.SeedSequence([seed, epoch, stream])).random_raw(n)
    return np.argsort(raw, kind="stable")
