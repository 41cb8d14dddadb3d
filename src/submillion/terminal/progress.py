"""Progress on standard error: a bar on a terminal, a plain line once a minute elsewhere, a name for uncounted work."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from submillion.wording import clock

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PATIENCE_S = 2.0
"""Shorter work gets neither bar nor name."""
LINE_S = 60.0
"""Seconds between two lines where standard error is no terminal."""

ROWS = "rows"

ProgressOption = bool | Callable[[int], Any]
"""True shows progress on standard error, False shows none; a callable receives the rows done since its last call."""


@contextmanager
def progress_bar(
    progress: ProgressOption, total: int | None, title: str, done: int = 0, unit: str = ROWS
) -> Iterator[Callable[[int], Any]]:
    """Yield a function to be called with the number of rows done since its last call.

    Args:
        progress: whether to show anything; a callable is yielded unchanged.
        total: number of rows; None if it is not known in advance, then the rows done are counted.
        title: what is being done, for example `predicting`.
        done: rows of the total that were done before; they do not count for the rate.
        unit: plural of what is counted in place of rows, for example `folds`; then no rate is shown.
    """
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _LateBar(total, title, done, unit) as bar:
            yield bar.advance
    else:
        yield _Lines(total, title, done, unit).advance


@contextmanager
def named_work(progress: ProgressOption, title: str) -> Iterator[None]:
    """Print the name of the work in the block once it has taken PATIENCE_S, if what is done of it is not counted.

    Args:
        progress: True prints on standard error; anything else nothing.
        title: what is being done, for example `fitting simpler models`.
    """
    timer = threading.Timer(PATIENCE_S, lambda: print(title, file=sys.stderr, flush=True))
    timer.daemon = True
    if progress is True:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def live_bar(facts: Sequence[str] = (), counts_only: bool = False, rate: bool = False) -> RichProgress:
    """Return a bar of rich on standard error, not yet started; it shows title, rows done, facts and time left.

    Args:
        facts: names of task fields to show, in this order.
        counts_only: the total is not known; show the rows done and the time elapsed.
        rate: show the rows per second.
    """
    from rich import progress as rich_progress
    from rich.console import Console

    if counts_only:
        columns: list[Any] = [
            rich_progress.SpinnerColumn(),
            "{task.completed:,} rows",
            *([_rate_column()] if rate else []),
            rich_progress.TimeElapsedColumn(),
        ]
    else:
        columns = [
            "{task.description}",
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            *([_rate_column()] if rate else []),
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


def _rate_column() -> Any:
    from rich import progress as rich_progress

    class Rate(rich_progress.ProgressColumn):
        """Rows per second, over the time that the estimate of the time left covers."""

        def render(self, task: rich_progress.Task) -> str:
            return "" if task.speed is None else f"{_rate(task.speed)} rows/s"

    return Rate()


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


class _LateBar:
    """A bar that appears once the work has taken PATIENCE_S, and disappears at the end if the total was known."""

    def __init__(self, total: int | None, title: str, done: int, unit: str) -> None:
        self._total, self._title, self._unit = total, title, unit
        self._done = self._before = done
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
            self._bar = live_bar(counts_only=self._total is None, rate=self._unit == ROWS)
            self._bar.live.transient = self._total is not None
            title = self._title if self._unit == ROWS else f"{self._title}, {self._unit}"
            self._task = self._bar.add_task(title, total=self._total, completed=self._before)
            self._bar.start()
        self._bar.update(self._task, completed=self._done)


class _Lines:
    """A line with the rows done, their rate and the time left, at most every LINE_S seconds."""

    def __init__(self, total: int | None, title: str, done: int, unit: str) -> None:
        self._total, self._title, self._unit = total, title, unit
        self._done = self._before = done
        self._started_at = time.monotonic()
        self._next_at = self._started_at + LINE_S

    def advance(self, rows: int) -> None:
        """Count rows that are done."""
        self._done += rows
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + LINE_S
        rate = (self._done - self._before) / (now - self._started_at)
        end = left = ""
        if self._total is not None:
            end = f"/{self._total:,}"
            if rate > 0:
                left = f", {clock((self._total - self._done) / rate)} left"
        speed = f", {_rate(rate)} rows/s" if self._unit == ROWS else ""
        line = f"{self._title}: {self._done:,}{end} {self._unit}{speed}{left}"
        print(line, file=sys.stderr, flush=True)
