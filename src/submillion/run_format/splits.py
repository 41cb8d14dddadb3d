"""The names of the splits that a training makes; `evaluate` adds others."""

from __future__ import annotations

SPLITS = ("train", "validation", "test")
SCORED_SPLITS = ("validation", "test")
REPORTED_SPLITS = ("test", "validation")
"""The scored ones in the order of a report: the test rows chose nothing."""
