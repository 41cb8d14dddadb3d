"""Writes the whole report of a run."""

from __future__ import annotations

from pathlib import Path

from submillion.report.card import write_card
from submillion.report.figures import draw_all
from submillion.report.page import write_page
from submillion.rundir import RunDir


def write_report(path: str | Path) -> Path:
    """Draw the figures of a run, write its page and its card; returns the path of the card.

    Raises:
        BadInput: there is no run, or one of its files cannot be read.
    """
    run = RunDir.open(path)
    draw_all(run)
    write_page(run)
    return write_card(run)
