"""Progress of a study: a live table on a terminal, otherwise one line per finished run."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from submillion.recipe import Recipe, TrainRecipe
from submillion.rundir import RunDir
from submillion.study.engines.job import FinishedJob, Job
from submillion.wording import printable


class StudyProgress:
    """Shows finished and running runs and the time left; a context manager."""

    def __init__(self, total: int, quiet: bool) -> None:
        """Take the number of runs, and whether to show nothing."""
        self._total, self._done = total, 0
        self._quiet, self._started_at = quiet, time.monotonic()
        self._done_before = 0
        self._plans: dict[str, TrainRecipe] = {}
        self._live: Live | None = None

    def __enter__(self) -> StudyProgress:
        console = Console(stderr=True)
        if not self._quiet and console.is_terminal:
            self._live = Live(console=console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def add_done(self, runs: int) -> None:
        """Count runs that an earlier call trained."""
        self._done += runs
        self._done_before += runs

    def tick(self, running: list[Job]) -> None:
        """Show how far the running jobs are."""
        if self._live is None:
            return
        shares = {job.name: self._share(job) for job in running}
        table = Table.grid(padding=(0, 2))
        table.add_row(self._overview(sum(shares.values())))
        for name, share in shares.items():
            table.add_row(Text(f"  {printable(name)}"), f"{share:.0%}")
        self._live.update(table)

    def finish(self, finished: FinishedJob, outcome: str = "done") -> None:
        """Count a job that has ended, and print its outcome."""
        job = finished.job
        if job.recipe is not None and not finished.exit_code:
            self._done += 1
        line = printable(f"{job.name}: {f'failed, see {job.log}' if finished.exit_code else outcome}")
        if self._live is not None:
            self._live.console.print(Text(line))
        elif not self._quiet:
            print(f"{line}; {self._overview(0)}", file=sys.stderr, flush=True)

    def _overview(self, running: float) -> str:
        """Return the number of finished runs, and the time left if the others take as long.

        Args:
            running: the running jobs, in runs.
        """
        overview = f"{self._done} of {self._total} runs"
        done = self._done + running - self._done_before
        if done <= 0 or self._done == self._total:
            return overview
        left_s = (time.monotonic() - self._started_at) / done * (self._total - self._done - running)
        hours, minutes = divmod(round(left_s / 60), 60)
        return f"{overview}, about {f'{hours} h ' if hours else ''}{minutes} min left"

    def _share(self, job: Job) -> float:
        """Return how much of a run is trained, from the last record of its history."""
        history = RunDir(job.run).read_history()
        if job.recipe is None or not history or history[-1]["kind"] == "contrastive":
            return 0.0
        if job.name not in self._plans:
            self._plans[job.name] = Recipe.load(job.recipe).train
        return self._plans[job.name].share_done(history[-1]["step"], history[-1]["epoch"])
