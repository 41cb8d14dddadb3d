"""Tests of the batch schedule: which texts each optimizer step takes."""

from __future__ import annotations

import numpy as np
import pytest

from submillion.errors import SubmillionError
from submillion.fit import batch_schedule
from submillion.fit.batch_schedule import BatchSchedule, share
from support.fit_stub import train_recipe

LENGTHS = np.random.default_rng(0).integers(3, 40, 53)


@pytest.mark.parametrize(("batch_size", "accumulation"), [(8, 1), (8, 3), (53, 1), (100, 2), (1, 7)])
@pytest.mark.parametrize("grouped", [True, False])
def test_every_epoch_takes_every_text_once(batch_size: int, accumulation: int, grouped: bool) -> None:
    recipe = train_recipe(
        batch_size=batch_size, gradient_accumulation_steps=accumulation, group_by_length=grouped, epochs=2
    )
    schedule = BatchSchedule(LENGTHS, recipe, seed=1)
    assert schedule.total_steps == 2 * schedule.steps_per_epoch
    for epoch in range(2):
        steps = range(epoch * schedule.steps_per_epoch, (epoch + 1) * schedule.steps_per_epoch)
        batches = [batch for step in steps for batch in schedule.batches_at(step)]
        assert sorted(np.concatenate(batches).tolist()) == list(range(53))
        assert max(map(len, batches)) <= batch_size
        assert all(len(schedule.batches_at(step)) <= accumulation for step in steps)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize(
    "tokens", [1, 500, int(LENGTHS.sum()), int(LENGTHS.sum()) + 1, 3 * int(LENGTHS.sum()), 10**9]
)
def test_training_ends_with_the_step_that_reaches_max_tokens(tokens: int, accumulation: int) -> None:
    options = {"batch_size": 8, "gradient_accumulation_steps": accumulation, "epochs": 4}
    whole, limited = (
        BatchSchedule(LENGTHS, train_recipe(**options, **limit), 5) for limit in ({}, {"max_tokens": tokens})
    )
    sums = np.cumsum(
        [LENGTHS[np.concatenate(whole.batches_at(step))].sum() for step in range(whole.total_steps)]
    )
    expected = min(int((sums < tokens).sum()) + 1, whole.total_steps)
    assert limited.total_steps == expected
    for step in range(expected):  # the steps up to the end are the same
        assert np.array_equal(
            np.concatenate(limited.batches_at(step)), np.concatenate(whole.batches_at(step))
        )


def test_batches_of_a_step_do_not_depend_on_the_order_of_calls() -> None:
    forward, backward = BatchSchedule(LENGTHS, train_recipe(), 5), BatchSchedule(LENGTHS, train_recipe(), 5)
    steps = range(forward.total_steps)
    one = {step: np.concatenate(forward.batches_at(step)).tolist() for step in steps}
    assert one == {step: np.concatenate(backward.batches_at(step)).tolist() for step in reversed(steps)}


def test_two_processes_share_the_batches_of_one_process_with_twice_the_batch_size() -> None:
    one = BatchSchedule(LENGTHS, train_recipe(batch_size=8), 5, world=1)
    two = BatchSchedule(LENGTHS, train_recipe(batch_size=4), 5, world=2)
    assert one.total_steps == two.total_steps
    for step in range(one.total_steps):
        (whole,) = one.batches_at(step)
        (same,) = two.batches_at(step)
        assert whole.tolist() == same.tolist()
        shares = [share(same, rank, 2) for rank in range(2)]
        assert sorted(np.concatenate(shares).tolist()) == sorted(whole.tolist())
        assert len(shares[0]) - len(shares[1]) in (0, 1)


def test_first_step_takes_the_longest_texts() -> None:
    schedule = BatchSchedule(LENGTHS, train_recipe(batch_size=8), 5)
    assert sorted(LENGTHS[schedule.batches_at(0)[0]]) == sorted(LENGTHS)[-8:]


TEXTS = np.random.default_rng(1).integers(3, 40, 2000)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("grouped", [True, False])
def test_with_batch_tokens_all_epochs_have_equally_many_steps_and_every_text_once(
    accumulation: int, grouped: bool
) -> None:
    fields = {"batch_size": 2, "gradient_accumulation_steps": accumulation, "group_by_length": grouped}
    schedule = BatchSchedule(TEXTS, train_recipe(batch_tokens=200, epochs=6, **fields), seed=1)
    assert len({len(schedule._group(epoch)) for epoch in range(6)}) > 1  # otherwise this would test nothing
    assert schedule.total_steps == 6 * schedule.steps_per_epoch
    for epoch in range(6):
        steps = range(epoch * schedule.steps_per_epoch, (epoch + 1) * schedule.steps_per_epoch)
        batches = [batch for step in steps for batch in schedule.batches_at(step)]
        assert all(1 <= len(schedule.batches_at(step)) <= accumulation for step in steps)
        assert sorted(np.concatenate(batches).tolist()) == list(range(2000))
        assert all(1 <= len(batch) <= 16 and TEXTS[batch].sum() <= 200 for batch in batches)


def test_batches_by_tokens_do_not_depend_on_the_order_of_calls() -> None:
    forward, backward = (BatchSchedule(TEXTS, train_recipe(batch_tokens=300), 5) for _ in range(2))
    steps = range(forward.total_steps)
    one = {step: np.concatenate(forward.batches_at(step)).tolist() for step in steps}
    assert one == {step: np.concatenate(backward.batches_at(step)).tolist() for step in reversed(steps)}


def test_two_processes_take_twice_the_tokens() -> None:
    one = BatchSchedule(TEXTS, train_recipe(batch_size=8, batch_tokens=400), 5, world=1)
    two = BatchSchedule(TEXTS, train_recipe(batch_size=4, batch_tokens=200), 5, world=2)
    assert one.total_steps == two.total_steps
    for step in range(one.total_steps):
        assert [batch.tolist() for batch in one.batches_at(step)] == [
            batch.tolist() for batch in two.batches_at(step)
        ]


def test_whole_epochs_are_ints() -> None:
    schedule = BatchSchedule(LENGTHS, train_recipe(batch_size=8), 5)
    assert schedule.steps_per_epoch == 7
    assert (schedule.epochs_after(14), schedule.epochs_after(1)) == (2, 0.1429)
    assert isinstance(schedule.epochs_after(14), int)


def test_missing_rows_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_schedule, "length_grouped", lambda *_: [np.arange(8)] * 7)
    with pytest.raises(
        SubmillionError, match=r"epoch 0: expected every text once, found 56 rows in 7 batches\."
    ):
        BatchSchedule(LENGTHS, train_recipe(batch_size=8), 5).batches_at(0)


@pytest.mark.parametrize("fields", [{}, {"batch_tokens": 60, "gradient_accumulation_steps": 2}])
@pytest.mark.parametrize("steps", [0, 1, 6, 7, 8, 40])
def test_steps_in_place_of_epochs(fields: dict[str, int], steps: int) -> None:
    schedule = BatchSchedule(LENGTHS, train_recipe(batch_size=8, epochs=1, steps=steps, **fields), seed=5)
    assert schedule.total_steps == steps
    whole = steps // schedule.steps_per_epoch
    for epoch in range(whole):
        places = range(epoch * schedule.steps_per_epoch, (epoch + 1) * schedule.steps_per_epoch)
        rows = np.concatenate([batch for step in places for batch in schedule.batches_at(step)])
        assert sorted(rows.tolist()) == list(range(53))
    assert all(len(schedule.batches_at(step)) for step in range(steps))


def test_steps_and_max_tokens_end_with_whichever_is_first() -> None:
    tokens = int(LENGTHS.sum())
    ends = [
        BatchSchedule(LENGTHS, train_recipe(batch_size=8, steps=20, max_tokens=limit), 5).total_steps
        for limit in (1, tokens, 2 * tokens, 10 * tokens)
    ]
    assert ends == [1, 7, 14, 20]


@pytest.mark.parametrize(
    ("every", "interval"), [("epoch", 7), (3, 3), ("10%", 3), ("34%", 10), ("100%", 28), ("1%", 1)]
)
def test_interval_of_evaluations(every: str | int, interval: int) -> None:
    recipe = train_recipe(batch_size=8, epochs=4, eval_every=every)
    assert BatchSchedule(LENGTHS, recipe, 5).evaluation_interval == interval
