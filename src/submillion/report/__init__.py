"""What a person reads of a run: figures and the model card, made from the run directory alone."""

from __future__ import annotations

from pathlib import Path

from submillion.report.card import write_card
from submillion.report.figures import draw_all
from submillion.rundir import RunDir


def write(path: str | Path) -> Path:
    """Draw a run's figures and write its card; returns the card's path."""
    run = RunDir.open(path)
    draw_all(run)
    return write_card(run)


__all__ = ["draw_all", "write", "write_card"]
