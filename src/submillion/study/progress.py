"""What a person sees while a study runs: runs done, those under way and how far they are, and the time left."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import yaml

from submillion.study.engines import Ended, Job

if TYPE_CHECKING:
    from rich.live import Live


class Progress:
    """A live table on a terminal; elsewhere a line for each run that ends."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._total, self._done = total, 0
        self._quiet, self._began = quiet, time.monotonic()
        self._at_first = 0.0
        self._epochs: dict[str, float] = {}
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        if not self._quiet and console.is_terminal:
            self._live = Live(console=console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def had(self, runs: int) -> None:
        """Count runs that were done before."""
        self._done += runs
        self._at_first += runs

    def tick(self, running: list[Job]) -> None:
        """Show how far the runs under way are."""
        if self._live is None:
            return
        from rich.table import Table

        shares = {job.name: self._share(job) for job in running}
        shown = Table.grid(padding=(0, 2))
        shown.add_row(self._overview(sum(shares.values())))
        for name, share in shares.items():
            shown.add_row(f"  {name}", f"{share:.0%}")
        self._live.update(shown)

    def ended(self, ended: Ended, how: str = "done") -> None:
        """Count a run that ended, and say so."""
        if ended.job.recipe is not None and not ended.code:
            self._done += 1
        said = f"{ended.job.name}: {'failed, see ' + str(ended.job.log) if ended.code else how}"
        if self._live is not None:
            self._live.console.print(said)
        elif not self._quiet:
            print(f"{said}; {self._overview(0)}", file=sys.stderr, flush=True)

    def _overview(self, under_way: float) -> str:
        """Return runs done of all, and the time left if the others take as long."""
        told = f"{self._done} of {self._total} runs"
        done = self._done + under_way - self._at_first
        if done <= 0 or self._done == self._total:
            return told
        left = (time.monotonic() - self._began) / done * (self._total - self._done - under_way)
        hours, minutes = divmod(round(left / 60), 60)
        return f"{told}, about {f'{hours} h ' if hours else ''}{minutes} min left"

    def _share(self, job: Job) -> float:
        """Return how much of a run is trained, from the last line of its history."""
        file = job.run / "history.jsonl"
        if job.recipe is None or not file.is_file():
            return 0.0
        if job.name not in self._epochs:
            self._epochs[job.name] = float(
                yaml.safe_load(job.recipe.read_text(encoding="utf-8"))["train"]["epochs"]
            )
        for line in reversed(file.read_text(encoding="utf-8").splitlines()):
            try:
                record: dict[str, Any] = json.loads(line)
            except ValueError:  # half a line: it is being written
                continue
            return min(1.0, record["epoch"] / self._epochs[job.name])
        return 0.0
