"""The result of one training, as the command line prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from submillion.run_format.analysis import Verdict
from submillion.run_format.metrics import Metrics
from submillion.run_format.splits import CROSS_VALIDATION
from submillion.rundir import RunDir
from submillion.wording import percent, percent_interval, printable


@dataclass(frozen=True)
class Outcome:
    """The result of one training."""

    run: RunDir
    metrics: Metrics
    """By split; empty in all but the first of several processes."""
    trainable: int
    interrupted: bool

    @property
    def verdict(self) -> Verdict | None:
        """The run against the best of its baselines; None before they are fitted."""
        baselines = self.run.read_analysis("baseline")
        return baselines["verdict"] if baselines else None

    def to_json(self) -> dict[str, Any]:
        """Return the run's directory, its metrics, its verdict against the baselines and its trainable parameters."""
        return {
            "run": str(self.run.path),
            "interrupted": self.interrupted,
            "trainable": self.trainable,
            "metrics": self.metrics,
            "verdict": self.verdict,
        }

    def render(self) -> str:
        """Return the closing lines: accuracy with its interval by split, verdict, and the place of the report."""
        lines = []
        folds = self.run.read_analysis("cross_validation")
        for split, scores in self.metrics.items():
            accuracy, macro_f1 = scores["accuracy_interval"], scores["macro_f1"]
            if folds and split == "validation":
                split, accuracy, macro_f1 = CROSS_VALIDATION, folds["accuracy"], folds["macro_f1"]["value"]
            lines.append(
                f"{split} accuracy {percent(accuracy['value'], 2)} (95% interval {percent_interval(accuracy, 2)}), "
                f"macro F1 {macro_f1:.4f}, {scores['rows']:,} rows"
            )
        if verdict := self.verdict:
            lines.append(verdict["sentence"])
        lines.append(f"trainable parameters {self.trainable:,}")
        if self.interrupted:
            lines.append(f"interrupted; continue with: submillion resume {self.run.path}")
        if self.run.report.is_file():
            lines.append(f"report: {self.run.report}")
        return "\n".join(map(printable, lines))
