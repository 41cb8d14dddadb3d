"""Work that overlaps: items made one ahead, and results handled one behind, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items of an iterator; a thread makes the next one while the caller works on the present one.

    Notices of that thread are collected with those of the caller, and its error is raised here.
    """
    context = copy_context()

    def make() -> T:
        return context.run(next, items, _END)

    with ThreadPoolExecutor(1, "ahead") as thread:
        coming = thread.submit(make)
        while (item := coming.result()) is not _END:
            coming = thread.submit(make)
            yield item


@contextmanager
def behind(work: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """Yield a function that calls `work` in a thread, one call after the other, and returns before it has ended.

    It waits for the call before, so at most one waits and one runs. All have ended when the block ends; an error of
    one is raised by the next call, or at the end of the block.
    """
    context = copy_context()
    with ThreadPoolExecutor(1, "behind") as thread:
        last: list[Future[None]] = []

        def submit(*arguments: Any) -> None:
            if last:
                last.pop().result()
            last.append(thread.submit(context.run, work, *arguments))

        yield submit
        if last:
            last.pop().result()
