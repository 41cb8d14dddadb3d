"""The thresholds per class of a run, as the record of an export states them."""

from __future__ import annotations

from submillion.model.class_thresholds import PART
from submillion.run_format.export import ExportedThresholds
from submillion.rundir import RunDir


def thresholds_of(run: RunDir) -> ExportedThresholds | None:
    """Return the thresholds per class that a run's analysis has chosen; None without any."""
    chosen = run.read_analysis(PART)
    if chosen is None:
        return None
    return {
        "objective": chosen["objective"],
        "rule": chosen["rule"],
        "split": chosen["split"],
        "rows": chosen["chosen_on"]["rows"],
        "values": {name: entry["threshold"] for name, entry in chosen["classes"].items()},
    }
