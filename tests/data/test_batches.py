"""Batches: every row once, similar lengths together, the largest first; padding on the right."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.data.batches import (
    collate,
    length_grouped,
    micro_batches,
    sequential,
    split_largest,
    token_grouped,
)
from submillion.data.tokens import Tokens, from_rows

lengths_and_sizes = st.tuples(st.lists(st.integers(2, 128), max_size=700), st.integers(1, 9))


def row_tokens(lengths: list[int]) -> Tokens:
    """Texts whose every token is their row's number, so that a misplaced token shows."""
    return from_rows([[row] * length for row, length in enumerate(lengths)])


@settings(max_examples=60, deadline=None)
@given(lengths_and_sizes, st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_every_row_is_in_exactly_one_batch(drawn: tuple[list[int], int], seed: int, epoch: int) -> None:
    lengths, batch_size = drawn
    batches = length_grouped(lengths, batch_size, seed, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert sum(len(batch) < batch_size for batch in batches) <= 1


@settings(max_examples=60, deadline=None)
@given(lengths_and_sizes, st.integers(0, 3))
def test_no_batch_of_any_epoch_needs_more_memory_than_the_first(
    drawn: tuple[list[int], int], epoch: int
) -> None:
    lengths, batch_size = np.array(drawn[0], dtype=int), drawn[1]
    if not len(lengths):
        return
    first = length_grouped(lengths, batch_size, 1, 0)[0]
    for batch in length_grouped(lengths, batch_size, 1, epoch):
        assert len(batch) * lengths[batch].max() <= len(first) * lengths[first].max()  # padded
        assert lengths[batch].sum() <= lengths[first].sum()  # packed


def test_grouping_avoids_nearly_all_padding() -> None:
    lengths = np.random.default_rng(0).integers(5, 128, 4000)
    batches = length_grouped(lengths, 16, seed=3, epoch=1)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded / lengths.sum() < 1.05


def test_epochs_and_seeds_differ_and_repeat() -> None:
    lengths = np.random.default_rng(0).integers(5, 128, 500)

    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(length_grouped(lengths, 8, seed, epoch)).tolist()

    assert order(1, 1) == order(1, 1)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1, 2)}) == 6


def test_the_order_is_the_same_on_every_machine_and_numpy() -> None:
    """PCG64's raw numbers may not change between numpy releases; if this fails, runs are not reproducible."""
    batches = length_grouped([5, 9, 5, 7, 8, 6, 5, 9, 6, 7], 3, seed=42, epoch=0)
    assert [batch.tolist() for batch in batches] == [[1, 7, 4], [2], [9, 3, 8], [5, 6, 0]]
    long = np.concatenate(length_grouped(np.arange(1000) % 97, 7, seed=7, epoch=0))
    assert hashlib.sha256(long.astype("<i8").tobytes()).hexdigest()[:16] == "561c8fa84a940cd5"


def test_texts_of_equal_length_are_shuffled() -> None:
    for epoch in (0, 1):
        rows = np.concatenate(length_grouped(np.ones(1000), 10, seed=5, epoch=epoch))
        assert abs(np.corrcoef(rows, np.arange(1000))[0, 1]) < 0.1
        assert (np.diff(rows[:10]) < 0).any()  # the first batch of epoch 0 included


budgets = st.tuples(st.lists(st.integers(2, 128), max_size=700), st.integers(1, 600), st.integers(1, 50))


@settings(max_examples=80, deadline=None)
@given(budgets, st.integers(0, 2**32 - 1), st.integers(0, 2), st.booleans())
def test_batches_by_tokens_have_every_row_once_within_the_budget(
    drawn: tuple[list[int], int, int], seed: int, epoch: int, grouped: bool
) -> None:
    lengths, tokens, most = np.array(drawn[0], dtype=int), drawn[1], drawn[2]
    batches = token_grouped(lengths, tokens, most, seed, epoch, grouped)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert lengths[batch].sum() <= tokens or len(batch) == 1
    if grouped and epoch == 0 and len(lengths):
        assert sorted(lengths[batches[0]]) == sorted(lengths)[-len(batches[0]) :]


def test_batches_by_tokens_of_a_hand_worked_case() -> None:
    # Longest first and one pool: 9 alone though it is too long, then 5+3, then 2+2+2, which are the most allowed.
    lengths = [2, 3, 9, 2, 5, 2, 2]
    batches = token_grouped(lengths, batch_tokens=8, max_rows=3, seed=1, epoch=0)
    assert [lengths[row] for row in batches[0]] == [9]
    assert sorted([lengths[row] for row in batch] for batch in batches[1:]) == [[2], [2, 2, 2], [5, 3]]


def test_batches_by_tokens_are_nearly_full_and_differ_between_epochs() -> None:
    lengths = np.random.default_rng(0).integers(5, 128, 8000)
    batches = token_grouped(lengths, 1024, 256, seed=3, epoch=1)
    assert len(batches) < 1.08 * lengths.sum() / 1024
    assert sum(len(batch) * lengths[batch].max() for batch in batches) / lengths.sum() < 1.08
    again = token_grouped(lengths, 1024, 256, seed=3, epoch=1)
    assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in again]
    drawn = [token_grouped(lengths, 1024, 256, seed, epoch) for seed, epoch in ((3, 1), (3, 2), (4, 1))]
    assert len({tuple(np.concatenate(batches)) for batches in drawn}) == 3


def test_batches_by_tokens_without_grouping_are_shuffled() -> None:
    lengths = np.sort(np.random.default_rng(0).integers(5, 128, 4000))
    rows = np.concatenate(token_grouped(lengths, 1024, 256, seed=3, epoch=0, grouped=False))
    assert abs(np.corrcoef(rows, np.arange(4000))[0, 1]) < 0.1


def test_splitting_halves_the_batches_with_the_most_rows() -> None:
    batches = [np.arange(2), np.arange(2, 9), np.arange(9, 13)]
    found = [batch.tolist() for batch in split_largest(batches, 5)]
    assert found == [[0, 1], [2, 3], [4, 5], [6, 7, 8], [9, 10, 11, 12]]
    assert [len(batch) for batch in split_largest(batches, 13)] == [1] * 13
    assert split_largest(batches, 3) == batches and split_largest([], 0) == []


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 1000))
def test_micro_batches_have_every_row_in_order_and_about_equally_many_tokens(
    lengths: list[int], most: int
) -> None:
    sizes = np.array(lengths)
    found = micro_batches(np.arange(len(sizes)), sizes, most)
    assert np.concatenate(found).tolist() == list(range(len(sizes)))
    count = min(len(sizes), -(-int(sizes.sum()) // most))
    assert len(found) <= count
    assert all(sizes[piece].sum() <= sizes.sum() / count + sizes.max() for piece in found)


def test_micro_batches_of_a_hand_worked_case() -> None:
    # 100 tokens in pieces of 40: three of about 33
    sizes = np.array([10, 20, 30, 30, 10])
    assert [piece.tolist() for piece in micro_batches(np.arange(5), sizes, 40)] == [[0, 1], [2], [3, 4]]
    assert [piece.tolist() for piece in micro_batches(np.array([4, 0]), sizes, None)] == [[4, 0]]
    assert micro_batches(np.array([], dtype=np.int64), sizes, 40) == []


def test_evaluation_has_the_longest_first_and_every_row_once() -> None:
    batches = sequential([3, 9, 5, 9, 2], 2)
    assert [batch.tolist() for batch in batches] == [[1, 3], [2, 0], [4]]
    assert sequential([], 2) == []


def test_batches_of_an_evaluation_are_joined_up_to_a_number_of_tokens() -> None:
    def joined(tokens: int | None) -> list[list[int]]:
        return [batch.tolist() for batch in sequential([3, 9, 5, 9, 2], 2, tokens)]

    assert joined(25) == [[1, 3], [2, 0, 4]]  # 18 and 8 tokens are too many, 8 and 2 are not
    assert joined(28) == [[1, 3, 2, 0, 4]]
    assert joined(1) == joined(None) == [[1, 3], [2, 0], [4]]
    assert sequential([], 2, 10) == []


def test_collate_pads_on_the_right_to_the_longest_of_the_batch() -> None:
    batch = collate(row_tokens([2, 1, 4, 3]), [3, 1], pad_id=99)
    assert batch["input_ids"].tolist() == [[3, 3, 3], [1, 99, 99]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert str(batch["input_ids"].dtype) == str(batch["attention_mask"].dtype) == "torch.int64"


def test_collate_of_no_rows_is_an_empty_batch() -> None:
    assert collate(row_tokens([2, 1]), [], pad_id=0)["input_ids"].shape == (0, 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=30), st.randoms())
def test_collate_gives_each_row_its_own_tokens(lengths: list[int], random: object) -> None:
    rows = list(range(len(lengths)))
    random.shuffle(rows)  # type: ignore[attr-defined]
    batch = collate(row_tokens(lengths), rows, pad_id=-1)
    for place, row in enumerate(rows):
        real = batch["input_ids"][place][batch["attention_mask"][place].bool()]
        assert real.tolist() == [row] * lengths[row]
    assert (batch["input_ids"] == -1).sum() == (batch["attention_mask"] == 0).sum()
