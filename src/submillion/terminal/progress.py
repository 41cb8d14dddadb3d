"""Progress on standard error: a bar on a terminal, a plain line once a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PATIENCE_S = 2.0
"""Shorter work gets no bar."""
LINE_S = 60.0
"""Seconds between two lines where standard error is no terminal."""

ProgressOption = bool | Callable[[int], Any]
"""True shows progress on standard error, False shows none; a callable receives the rows done since its last call."""


@contextmanager
def progress_bar(progress: ProgressOption, total: int | None, title: str) -> Iterator[Callable[[int], Any]]:
    """Yield a function to be called with the number of rows done since its last call.

    Args:
        progress: whether to show anything; a callable is yielded unchanged.
        total: number of rows; None if it is not known in advance, then the rows done are counted.
        title: what is being done, for example `predicting`.
    """
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _LateBar(total, title) as bar:
            yield bar.advance
    else:
        yield _Lines(total, title).advance


def live_bar(facts: Sequence[str] = (), counts_only: bool = False) -> RichProgress:
    """Return a bar of rich on standard error, not yet started; it shows title, rows done, facts and time left.

    Args:
        facts: names of task fields to show, in this order.
        counts_only: the total is not known; show the rows done and the time elapsed.
    """
    from rich import progress as rich_progress
    from rich.console import Console

    if counts_only:
        columns: list[Any] = [
            rich_progress.SpinnerColumn(),
            "{task.completed:,} rows",
            rich_progress.TimeElapsedColumn(),
        ]
    else:
        columns = [
            "{task.description}",
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            *(f"{{task.fields[{name}]}}" for name in facts),
            rich_progress.TimeRemainingColumn(),
            "left",
        ]
    return rich_progress.Progress(
        *columns,
        console=Console(stderr=True),
        refresh_per_second=4,
        # The estimate of the time left covers the last minutes, which hold both short and long batches.
        speed_estimate_period=300,
    )


class _LateBar:
    """A bar that appears once the work has taken PATIENCE_S, and disappears at the end if the total was known."""

    def __init__(self, total: int | None, title: str) -> None:
        self._total, self._title = total, title
        self._done = 0
        self._started_at = time.monotonic()
        self._bar: RichProgress | None = None
        self._task: Any = None

    def __enter__(self) -> _LateBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, rows: int) -> None:
        """Count rows that are done."""
        self._done += rows
        if self._bar is None:
            if time.monotonic() - self._started_at <= PATIENCE_S:
                return
            self._bar = live_bar(counts_only=self._total is None)
            self._bar.live.transient = self._total is not None
            self._task = self._bar.add_task(self._title, total=self._total)
            self._bar.start()
        self._bar.update(self._task, completed=self._done)


class _Lines:
    """A line with the rows done, at most every LINE_S seconds."""

    def __init__(self, total: int | None, title: str) -> None:
        self._end = "" if total is None else f"/{total:,}"
        self._title = title
        self._done = 0
        self._next_at = time.monotonic() + LINE_S

    def advance(self, rows: int) -> None:
        """Count rows that are done."""
        self._done += rows
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + LINE_S
            print(f"{self._title}: {self._done:,}{self._end} rows", file=sys.stderr, flush=True)
