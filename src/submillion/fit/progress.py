"""Training progress on standard error: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from submillion.fit.stopping import Stopping
from submillion.terminal.progress import live_bar
from submillion.wording import clock

REDRAW_S = 0.25  # shortest time between two redraws of a live bar
LINE_S = 60.0  # longest time between two lines without a terminal


class TrainingProgress:
    """Shows step, loss, samples/s, time left and best accuracy; costs next to nothing between redraws."""

    def __init__(
        self, total: int, shown: bool = True, first_step: int = 0, seconds_left: float | None = None
    ) -> None:
        """Prepare; nothing is drawn before `__enter__`.

        Args:
            total: optimizer steps of the whole training; early stopping may end it sooner.
            shown: False draws and prints nothing at all.
            first_step: steps done earlier, in a resumed training.
            seconds_left: what a time limit leaves to the training; None without one.
        """
        self._seconds_left = seconds_left
        self._total, self._first_step, self._shown = total, first_step, shown
        self._facts = {"loss": "", "rate": "", "best": ""}
        self._bar: Any = None
        self._task: Any = None
        self._next_at = 0.0

    def __enter__(self) -> TrainingProgress:
        if self._shown and sys.stderr.isatty():
            self._bar = live_bar(facts=tuple(self._facts))
            self._task = self._bar.add_task(
                "training", total=self._total, completed=self._first_step, **self._facts
            )
            self._bar.start()
        self._started_at = time.monotonic()
        self._next_at = self._started_at + (REDRAW_S if self._bar else LINE_S)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step_done(self, step: int) -> None:
        """Show that optimizer step `step` is done; to be called after every step."""
        if not self._shown or time.monotonic() < self._next_at:
            return
        if self._bar is not None:
            self._next_at = time.monotonic() + REDRAW_S
            self._bar.update(self._task, completed=step, **self._facts)
        else:
            self._print_line(step)

    def logged(self, loss: float, samples_per_second: float) -> None:
        """Take the figures of the latest history line."""
        self._facts["loss"] = f"loss {loss:.4f}"
        self._facts["rate"] = f"{samples_per_second:,.1f} samples/s"

    def evaluated(self, record: dict[str, Any], stopping: Stopping) -> None:
        """Show one evaluation; without a terminal, it is printed as a line at once."""
        step = record["step"]
        if stopping.objective == "macro_f1":
            best = f"best macro F1 {stopping.best_macro_f1:.4f}"
        else:
            best = f"best {stopping.best_accuracy:.2%}"
        self._facts["best"] = f"{best} at step {stopping.best_step:,}"
        text = (
            f"epoch {record['epoch']:g}: validation accuracy {record['accuracy']:.2%}, "
            f"macro F1 {record['macro_f1']:.4f}, loss {record['loss']:.4f}"
        )
        if record.get("averaged_steps"):
            text += f", averaged over {record['averaged_steps']:,} steps"
        text += ", best so far" if record["best"] else ""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
            self._bar.update(self._task, completed=step, **self._facts)
        elif self._shown:
            self._print_line(step, text)

    def _print_line(self, step: int, text: str = "") -> None:
        now = time.monotonic()
        self._next_at = now + LINE_S
        seconds_per_step = (now - self._started_at) / max(1, step - self._first_step)
        seconds = seconds_per_step * (self._total - step)
        if self._seconds_left is not None:
            seconds = min(seconds, max(0.0, self._seconds_left - (now - self._started_at)))
        facts = [text, *(fact for fact in self._facts.values() if fact), f"at most {clock(seconds)} left"]
        print(f"step {step:,}/{self._total:,}: {'; '.join(filter(None, facts))}", file=sys.stderr, flush=True)
