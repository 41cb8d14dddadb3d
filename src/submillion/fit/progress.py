"""What a person sees on stderr while a run trains: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from submillion.fit.stopping import Stopping

REDRAW_S = 0.25  # a live bar follows the steps at most this often
LINE_S = 60.0  # without a terminal, one line at least this often


class Progress:
    """Shows step, loss, samples/s, time left and best accuracy; costs next to nothing between redraws."""

    def __init__(self, total: int, shown: bool = True, done: int = 0) -> None:
        """Prepare; nothing is drawn before `__enter__`.

        Args:
            total: optimizer steps of the whole training; early stopping may end it sooner.
            shown: False draws and prints nothing at all.
            done: steps done before, in a resumed training.
        """
        self._total, self._done, self._shown = total, done, shown
        self._facts = {"loss": "", "rate": "", "best": ""}
        self._bar: Any = None
        self._task: Any = None
        self._next = 0.0

    def __enter__(self) -> Progress:
        if self._shown and sys.stderr.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task("", total=self._total, completed=self._done, **self._facts)
            self._bar.start()
        self._began, self._began_at = time.monotonic(), self._done
        self._next = self._began + (REDRAW_S if self._bar else LINE_S)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: int) -> None:
        """Say that optimizer step `step` is done; called after every one."""
        if not self._shown or time.monotonic() < self._next:
            return
        if self._bar is not None:
            self._next = time.monotonic() + REDRAW_S
            self._bar.update(self._task, completed=step, **self._facts)
        else:
            self._line(step)

    def trained(self, loss: float, samples_per_second: float) -> None:
        """Take over the latest logged figures."""
        self._facts["loss"] = f"loss {loss:.4f}"
        self._facts["rate"] = f"{samples_per_second:,.1f} samples/s"

    def evaluated(self, record: dict[str, Any], stopping: Stopping) -> None:
        """Show one evaluation; without a terminal, this is a line of its own."""
        step = record["step"]
        self._facts["best"] = f"best {stopping.best_accuracy:.2%} at step {stopping.best_step:,}"
        text = (
            f"epoch {record['epoch']:g}: validation accuracy {record['accuracy']:.2%}, "
            f"macro F1 {record['macro_f1']:.4f}, loss {record['loss']:.4f}"
        )
        text += ", best so far" if record["best"] else ""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
            self._bar.update(self._task, completed=step, **self._facts)
        elif self._shown:
            self._line(step, text)

    def _line(self, step: int, text: str = "") -> None:
        now = time.monotonic()
        self._next = now + LINE_S
        left = (now - self._began) / max(1, step - self._began_at) * (self._total - step)
        facts = [text, *(fact for fact in self._facts.values() if fact), f"at most {clock(left)} left"]
        print(f"step {step:,}/{self._total:,}: {'; '.join(filter(None, facts))}", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[best]}"),
        console=Console(stderr=True),
        refresh_per_second=4,
        # Time left is foreseen from the last minutes, long enough to hold short and long batches alike.
        speed_estimate_period=300,
    )
