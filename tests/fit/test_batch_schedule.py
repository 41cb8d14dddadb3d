"""Which texts each optimizer step takes."""

from __future__ import annotations

import numpy as np
import pytest

from submillion.errors import SubmillionError
from submillion.fit import batch_schedule as feeding
from submillion.fit.batch_schedule import Feed, share
from support.fit_stub import train_recipe

LENGTHS = np.random.default_rng(0).integers(3, 40, 53)


@pytest.mark.parametrize(("batch_size", "accumulation"), [(8, 1), (8, 3), (53, 1), (100, 2), (1, 7)])
@pytest.mark.parametrize("grouped", [True, False])
def test_every_epoch_takes_every_text_once(batch_size: int, accumulation: int, grouped: bool) -> None:
    recipe = train_recipe(
        batch_size=batch_size, gradient_accumulation_steps=accumulation, group_by_length=grouped, epochs=2
    )
    feed = Feed(LENGTHS, recipe, seed=1)
    assert feed.total_steps == 2 * feed.steps_per_epoch
    for epoch in range(2):
        steps = range(epoch * feed.steps_per_epoch, (epoch + 1) * feed.steps_per_epoch)
        batches = [batch for step in steps for batch in feed.at(step)]
        assert sorted(np.concatenate(batches).tolist()) == list(range(53))
        assert max(map(len, batches)) <= batch_size
        assert all(len(feed.at(step)) <= accumulation for step in steps)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize(
    "tokens", [1, 500, int(LENGTHS.sum()), int(LENGTHS.sum()) + 1, 3 * int(LENGTHS.sum()), 10**9]
)
def test_a_number_of_tokens_ends_with_the_step_that_reaches_it(tokens: int, accumulation: int) -> None:
    options = {"batch_size": 8, "gradient_accumulation_steps": accumulation, "epochs": 4}
    whole, feed = (
        Feed(LENGTHS, train_recipe(**options, **limit), 5) for limit in ({}, {"max_tokens": tokens})
    )
    sums = np.cumsum([LENGTHS[np.concatenate(whole.at(step))].sum() for step in range(whole.total_steps)])
    expected = min(int((sums < tokens).sum()) + 1, whole.total_steps)
    assert feed.total_steps == expected
    for step in range(expected):  # what is trained until then is the same
        assert np.array_equal(np.concatenate(feed.at(step)), np.concatenate(whole.at(step)))


def test_a_step_is_the_same_whichever_was_asked_for_before() -> None:
    forward, backward = Feed(LENGTHS, train_recipe(), 5), Feed(LENGTHS, train_recipe(), 5)
    steps = range(forward.total_steps)
    one = {step: np.concatenate(forward.at(step)).tolist() for step in steps}
    assert one == {step: np.concatenate(backward.at(step)).tolist() for step in reversed(steps)}


def test_two_processes_share_the_batches_that_one_draws_with_twice_the_batch() -> None:
    one = Feed(LENGTHS, train_recipe(batch_size=8), 5, world=1)
    two = Feed(LENGTHS, train_recipe(batch_size=4), 5, world=2)
    assert one.total_steps == two.total_steps
    for step in range(one.total_steps):
        (whole,) = one.at(step)
        (same,) = two.at(step)
        assert whole.tolist() == same.tolist()
        shares = [share(same, rank, 2) for rank in range(2)]
        assert sorted(np.concatenate(shares).tolist()) == sorted(whole.tolist())
        assert len(shares[0]) - len(shares[1]) in (0, 1)


def test_the_longest_texts_come_first_once() -> None:
    feed = Feed(LENGTHS, train_recipe(batch_size=8), 5)
    assert sorted(LENGTHS[feed.at(0)[0]]) == sorted(LENGTHS)[-8:]


TEXTS = np.random.default_rng(1).integers(3, 40, 2000)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("grouped", [True, False])
def test_with_a_token_budget_every_epoch_has_as_many_steps_and_every_text_once(
    accumulation: int, grouped: bool
) -> None:
    fields = {"batch_size": 2, "gradient_accumulation_steps": accumulation, "group_by_length": grouped}
    feed = Feed(TEXTS, train_recipe(batch_tokens=200, epochs=6, **fields), seed=1)
    assert len({len(feed._arranged(epoch)) for epoch in range(6)}) > 1  # or nothing would be shown
    assert feed.total_steps == 6 * feed.steps_per_epoch
    for epoch in range(6):
        steps = range(epoch * feed.steps_per_epoch, (epoch + 1) * feed.steps_per_epoch)
        batches = [batch for step in steps for batch in feed.at(step)]
        assert all(1 <= len(feed.at(step)) <= accumulation for step in steps)
        assert sorted(np.concatenate(batches).tolist()) == list(range(2000))
        assert all(1 <= len(batch) <= 16 and TEXTS[batch].sum() <= 200 for batch in batches)


def test_a_step_by_tokens_is_the_same_whichever_was_asked_for_before() -> None:
    forward, backward = (Feed(TEXTS, train_recipe(batch_tokens=300), 5) for _ in range(2))
    steps = range(forward.total_steps)
    one = {step: np.concatenate(forward.at(step)).tolist() for step in steps}
    assert one == {step: np.concatenate(backward.at(step)).tolist() for step in reversed(steps)}


def test_two_processes_take_twice_the_tokens() -> None:
    one = Feed(TEXTS, train_recipe(batch_size=8, batch_tokens=400), 5, world=1)
    two = Feed(TEXTS, train_recipe(batch_size=4, batch_tokens=200), 5, world=2)
    assert one.total_steps == two.total_steps
    for step in range(one.total_steps):
        assert [batch.tolist() for batch in one.at(step)] == [batch.tolist() for batch in two.at(step)]


def test_epochs_are_whole_where_they_are() -> None:
    feed = Feed(LENGTHS, train_recipe(batch_size=8), 5)
    assert feed.steps_per_epoch == 7
    assert (feed.epochs(14), feed.epochs(1)) == (2, 0.1429)
    assert isinstance(feed.epochs(14), int)


def test_lost_rows_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "length_grouped", lambda *_: [np.arange(8)] * 7)
    with pytest.raises(SubmillionError, match="epoch 0: 56 rows in 7 batches, not every text once"):
        Feed(LENGTHS, train_recipe(batch_size=8), 5).at(0)
