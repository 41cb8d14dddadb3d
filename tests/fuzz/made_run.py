"""Makes the finished run whose files are changed: made-up predictions, and every part of the analysis."""

from __future__ import annotations

from pathlib import Path

from submillion import notices


def made_in(place: Path) -> Path:
    """Make a run with metrics and every part of the analysis, and return its directory."""
    from submillion.assess.score import assess_run
    from support.analysis import made_analysis
    from support.run import made_run

    with notices.collecting(quiet=True):
        run = made_run(place, sizes=(12, 12, 12, 12), epochs=2)
        assess_run(run)
        made_analysis(run, "a text")
    return place
