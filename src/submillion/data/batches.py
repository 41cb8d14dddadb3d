"""Which texts go through the model together: batches of like length, ordered by seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    return _arranged(sizes, POOL_BATCHES * batch_size, lambda rows: _cut(rows, batch_size), seed, epoch)


def token_grouped(
    lengths: Sequence[int] | np.ndarray,
    batch_tokens: int,
    most: int,
    seed: int,
    epoch: int,
    grouped: bool = True,
) -> list[np.ndarray]:
    """Return one epoch's batches of as many texts as a number of tokens holds; every row is in exactly one.

    Epoch 0 begins with the longest texts, as in `length_grouped`; how many batches there are differs a little
    from epoch to epoch.

    Args:
        lengths: tokens per text [N].
        batch_tokens: tokens per batch at most, padding not counted; a text that is longer is alone.
        most: rows per batch at most.
        seed: the recipe's seed.
        epoch: counted from 0.
        grouped: whether texts of like length go together; otherwise they are only shuffled.

    Returns:
        int64 arrays of at least one row.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    usual = min(most, max(1, batch_tokens * len(sizes) // max(1, int(sizes.sum()))))
    return _arranged(
        sizes if grouped else np.ones_like(sizes),
        POOL_BATCHES * usual,
        lambda rows: _cut_by_tokens(rows, sizes, batch_tokens, most),
        seed,
        epoch,
    )


def split_up(batches: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Return at least `count` batches, made by halving those with the most rows; no row changes its place.

    Args:
        batches: with `count` rows at least, all together.
        count: how many are wanted.
    """
    batches = list(batches)
    while len(batches) < count:
        index = max(range(len(batches)), key=lambda place: len(batches[place]))
        half = -(-len(batches[index]) // 2)
        batches[index : index + 1] = [batches[index][:half], batches[index][half:]]
    return batches


def pieces(rows: np.ndarray, lengths: np.ndarray, most: int | None) -> list[np.ndarray]:
    """Return the rows of a batch in as few consecutive pieces of like many tokens as hold about `most` each.

    Args:
        rows: indices into `lengths`.
        lengths: tokens per text [N].
        most: tokens of a piece; a piece may be larger by what its texts cannot be cut. None leaves the batch whole.

    Returns:
        int64 arrays of at least one row; none where there are no rows.
    """
    ends = np.cumsum(lengths[rows])
    if not len(rows):
        return []
    count = 1 if most is None else min(len(rows), -(-int(ends[-1]) // most))
    # Row i goes to the piece in which the middle of its tokens lies.
    middles = ends - lengths[rows] / 2
    places = np.minimum(count * middles / max(1, int(ends[-1])), count - 1).astype(np.int64)
    return [rows[places == place] for place in np.unique(places)]


def sequential(
    lengths: Sequence[int] | np.ndarray, batch_size: int, tokens: int | None = None
) -> list[np.ndarray]:
    """Return batches for evaluation: every row once, the longest texts first, hardly any padding.

    Args:
        lengths: tokens per text [N].
        batch_size: rows per batch.
        tokens: consecutive batches are joined as long as they hold no more of them together; None joins none.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    batches = _cut(_longest_first(sizes), batch_size)
    if tokens is None:
        return batches
    held = np.array([sizes[batch].sum() for batch in batches], dtype=np.int64)
    joined = _cut_by_tokens(np.arange(len(batches)), held, tokens, len(batches))
    return [np.concatenate([batches[number] for number in some]) for some in joined]


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


def _arranged(
    sizes: np.ndarray, pool_size: int, cut: Callable[[np.ndarray], list[np.ndarray]], seed: int, epoch: int
) -> list[np.ndarray]:
    """Return shuffled batches, cut from pools of `pool_size` rows each sorted by `sizes`."""
    order = _permutation(len(sizes), seed, epoch)
    first: list[np.ndarray] = []
    if epoch == 0 and len(sizes):
        longest = _longest_first(sizes[order])
        first = cut(order[longest])[:1]
        order = order[np.sort(longest[len(first[0]) :])]
    pools = _cut(order, pool_size)
    batches = [batch for pool in pools for batch in cut(pool[_longest_first(sizes[pool])])]
    shuffled = _permutation(len(batches), seed, epoch, stream=1)
    return first + [batches[index] for index in shuffled]


def _longest_first(sizes: np.ndarray) -> np.ndarray:
    """Return the order by falling length; texts of one length keep their order."""
    return np.argsort(-sizes, kind="stable")


def _cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _cut_by_tokens(order: np.ndarray, sizes: np.ndarray, tokens: int, most: int) -> list[np.ndarray]:
    ends = np.cumsum(sizes[order])
    batches, start, done = [], 0, 0
    while start < len(order):
        fitting = int(np.searchsorted(ends, done + tokens, side="right"))
        stop = min(max(fitting, start + 1), start + most)
        batches.append(order[start:stop])
        start, done = stop, int(ends[stop - 1])
    return batches


def _permutation(n: int, seed: int, epoch: int, stream: int = 0) -> np.ndarray:
    """Return a permutation of n that no numpy release changes.

    `Generator.permutation` may change between releases (NEP 19); PCG64's raw numbers may not.
    """
    raw = np.random.PCG64(np.random.SeedSequence([seed, epoch, stream])).random_raw(n)
    return np.argsort(raw, kind="stable")
