"""Batches of texts of similar length; their order depends only on seed and epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens

# Texts are sorted by length within pools of this many batches: large enough for batches almost without padding, small
# enough for batches that differ from epoch to epoch.
POOL_BATCHES = 50


def length_grouped(
    lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Return one epoch's batches of row indices; every row is in exactly one batch.

    The first batch of epoch 0 has the longest texts of all. No later batch needs more memory, padded or packed, so a
    run that does not fit in memory fails at its start. Texts of equal length are only shuffled.

    Args:
        lengths: tokens per text [N].
        batch_size: rows per batch.
        seed: the recipe's seed.
        epoch: counted from 0.

    Returns:
        ceil(N / batch_size) int64 arrays; one of them, at any position, may be shorter than the others.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    return _arranged(sizes, POOL_BATCHES * batch_size, lambda rows: _cut(rows, batch_size), seed, epoch)


def token_grouped(
    lengths: Sequence[int] | np.ndarray,
    batch_tokens: int,
    max_rows: int,
    seed: int,
    epoch: int,
    grouped: bool = True,
) -> list[np.ndarray]:
    """Return one epoch's batches of about equally many tokens; every row is in exactly one batch.

    Epoch 0 begins with the longest texts, as in `length_grouped`. The number of batches varies slightly from epoch to
    epoch.

    Args:
        lengths: tokens per text [N].
        batch_tokens: maximum tokens per batch, without padding; a longer text is a batch of its own.
        max_rows: maximum rows per batch.
        seed: the recipe's seed.
        epoch: counted from 0.
        grouped: group texts of similar length; otherwise they are only shuffled.

    Returns:
        int64 arrays of at least one row.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    usual = min(max_rows, max(1, batch_tokens * len(sizes) // max(1, int(sizes.sum()))))
    return _arranged(
        sizes if grouped else np.ones_like(sizes),
        POOL_BATCHES * usual,
        lambda rows: _cut_by_tokens(rows, sizes, batch_tokens, max_rows),
        seed,
        epoch,
    )


def split_largest(batches: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Return at least `count` batches by halving those with the most rows; the order of rows does not change.

    Args:
        batches: batches of at least `count` rows in total.
        count: minimum number of batches.
    """
    batches = list(batches)
    while len(batches) < count:
        index = max(range(len(batches)), key=lambda place: len(batches[place]))
        half = -(-len(batches[index]) // 2)
        batches[index : index + 1] = [batches[index][:half], batches[index][half:]]
    return batches


def micro_batches(rows: np.ndarray, lengths: np.ndarray, max_tokens: int | None) -> list[np.ndarray]:
    """Return the rows of a batch in as few consecutive micro-batches of about `max_tokens` tokens as possible.

    Args:
        rows: indices into `lengths`.
        lengths: tokens per text [N].
        max_tokens: tokens per micro-batch; one may exceed it, since texts are not divided. None keeps the batch whole.

    Returns:
        int64 arrays of at least one row; an empty list if there are no rows.
    """
    ends = np.cumsum(lengths[rows])
    if not len(rows):
        return []
    count = 1 if max_tokens is None else min(len(rows), -(-int(ends[-1]) // max_tokens))
    # Row i belongs to the micro-batch that contains the middle of its tokens.
    middles = ends - lengths[rows] / 2
    places = np.minimum(count * middles / max(1, int(ends[-1])), count - 1).astype(np.int64)
    return [rows[places == place] for place in np.unique(places)]


def sequential(
    lengths: Sequence[int] | np.ndarray, batch_size: int, tokens: int | None = None
) -> list[np.ndarray]:
    """Return batches for evaluation: every row once, the longest texts first, almost no padding.

    Args:
        lengths: tokens per text [N].
        batch_size: rows per batch.
        tokens: consecutive batches are joined up to this number of tokens; None joins none.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    batches = _cut(_longest_first(sizes), batch_size)
    if tokens is None:
        return batches
    batch_tokens = np.array([sizes[batch].sum() for batch in batches], dtype=np.int64)
    joined = _cut_by_tokens(np.arange(len(batches)), batch_tokens, tokens, len(batches))
    return [np.concatenate([batches[number] for number in group]) for group in joined]


def collate(tokens: Tokens, rows: Sequence[int] | np.ndarray, pad_id: int) -> dict[str, torch.Tensor]:
    """Return a batch padded to its longest text.

    Args:
        tokens: tokens of all texts.
        rows: B rows of them.
        pad_id: token id of the padding.

    Returns:
        `input_ids` and `attention_mask`, int64 [B, S]; padding is on the right and has mask 0.
    """
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


def _arranged(
    sizes: np.ndarray, pool_size: int, cut: Callable[[np.ndarray], list[np.ndarray]], seed: int, epoch: int
) -> list[np.ndarray]:
    """Return shuffled batches, cut from pools of `pool_size` rows each sorted by `sizes`."""
    order = permutation(len(sizes), seed, epoch)
    first: list[np.ndarray] = []
    if epoch == 0 and len(sizes):
        longest = _longest_first(sizes[order])
        first = cut(order[longest])[:1]
        order = order[np.sort(longest[len(first[0]) :])]
    pools = _cut(order, pool_size)
    batches = [batch for pool in pools for batch in cut(pool[_longest_first(sizes[pool])])]
    shuffled = permutation(len(batches), seed, epoch, stream=1)
    return first + [batches[index] for index in shuffled]


def _longest_first(sizes: np.ndarray) -> np.ndarray:
    """Return the order by decreasing length; texts of equal length keep their order."""
    return np.argsort(-sizes, kind="stable")


def _cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _cut_by_tokens(order: np.ndarray, sizes: np.ndarray, tokens: int, max_items: int) -> list[np.ndarray]:
    ends = np.cumsum(sizes[order])
    batches, start, done = [], 0, 0
    while start < len(order):
        fitting = int(np.searchsorted(ends, done + tokens, side="right"))
        stop = min(max(fitting, start + 1), start + max_items)
        batches.append(order[start:stop])
        start, done = stop, int(ends[stop - 1])
    return batches


def permutation(n: int, seed: int, turn: int, stream: int = 0) -> np.ndarray:
    """Return a permutation of n that is the same in every numpy release.

    `Generator.permutation` may change between releases (NEP 19); the raw numbers of PCG64 may not.

    Args:
        n: number of items.
        seed: of all permutations.
        turn: which of them, such as the epoch.
        stream: tells apart those of one turn.
    """
    raw = np.random.PCG64(np.random.SeedSequence([seed, turn, stream])).random_raw(n)
    return np.argsort(raw, kind="stable")
