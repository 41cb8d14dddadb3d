"""The result of one training, as printed by the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from submillion.run_format.analysis import Verdict
from submillion.run_format.metrics import Metrics
from submillion.run_format.reported import reported_scores
from submillion.rundir import RunDir
from submillion.wording import percent, percent_interval, printable


@dataclass(frozen=True)
class Outcome:
    """The result of one training."""

    run: RunDir
    metrics: Metrics
    """By split; empty in all but the first process."""
    trainable: int
    interrupted: bool

    @property
    def verdict(self) -> Verdict | None:
        """The run against its best baseline; None until baselines are fitted."""
        baselines = self.run.read_analysis("baseline")
        return baselines["verdict"] if baselines else None

    def to_json(self) -> dict[str, Any]:
        """Return run directory, metrics, verdict against the baselines and number of trainable parameters."""
        return {
            "run": str(self.run.path),
            "interrupted": self.interrupted,
            "trainable": self.trainable,
            "metrics": self.metrics,
            "verdict": self.verdict,
        }

    def render(self) -> str:
        """Return the closing lines: accuracy with interval by split, verdict, and path of the report."""
        lines = []
        folds = self.run.read_analysis("cross_validation")
        for split, scores in self.metrics.items():
            stated = reported_scores(split, scores, folds)
            interval = percent_interval(stated.accuracy_interval, 2)
            lines.append(
                f"{stated.title} accuracy {percent(stated.accuracy, 2)} (95% interval {interval}), "
                f"macro F1 {stated.macro_f1:.4f}, {scores['rows']:,} rows"
            )
        if verdict := self.verdict:
            lines.append(verdict["sentence"])
        lines.append(f"trainable parameters {self.trainable:,}")
        if self.interrupted:
            lines.append(f"interrupted; continue with: submillion resume {self.run.path}")
        if self.run.report.is_file():
            lines.append(f"report: {self.run.report}")
        return "\n".join(map(printable, lines))
