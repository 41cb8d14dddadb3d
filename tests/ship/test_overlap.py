"""Work that overlaps keeps its order, its errors and its notices."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from submillion import notices
from submillion.ship.overlap import ahead, behind


def test_the_next_item_is_made_while_the_present_one_is_used() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            notices.emit("made", f"number {number}")
            yield number

    for number in ahead(items()):
        assert made[min(number + 1, 2)].wait(10)
    assert [notice["text"] for notice in notices.collected()] == ["number 0", "number 1", "number 2"]


def test_an_error_of_the_thread_that_makes_items_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        for item in ahead(items()):
            seen.append(item)
    assert seen == [1]


def test_calls_run_one_after_the_other_and_have_ended_with_the_block() -> None:
    done: list[int] = []
    with behind(done.append) as submit:
        for number in range(50):
            submit(number)
    assert done == list(range(50))


def test_an_error_of_a_call_is_raised_by_the_next_one_or_at_the_end() -> None:
    def fail(number: int) -> None:
        raise OSError(f"call {number}")

    with pytest.raises(OSError, match="call 1"), behind(fail) as submit:
        submit(1)
        submit(2)
        pytest.fail("the error was lost")
    with pytest.raises(OSError, match="call 3"), behind(fail) as submit:
        submit(3)
