"""The report of a run: figures, page and model card, made from the run directory alone."""

from __future__ import annotations

from pathlib import Path

from submillion.report.card import render_card, write_card
from submillion.report.figures import draw_all
from submillion.report.page import render_page, write_page
from submillion.rundir import RunDir


def write(path: str | Path) -> Path:
    """Draw the figures of a run, write its page and its card; returns the path of the card."""
    run = RunDir.open(path)
    draw_all(run)
    write_page(run)
    return write_card(run)


__all__ = ["draw_all", "render_card", "render_page", "write", "write_card", "write_page"]
