"""The type of every JSON file in a run directory, by its path."""

from __future__ import annotations

from typing import Any

from submillion.run_format.analysis import Baselines, Errors, Intervals
from submillion.run_format.analysis_attribution import Attribution
from submillion.run_format.analysis_audit import Audit
from submillion.run_format.analysis_confidence import Confidence
from submillion.run_format.analysis_cross_validation import CrossValidated
from submillion.run_format.analysis_data import Duplicates, Noise
from submillion.run_format.analysis_int8 import Int8, PrefixInt8
from submillion.run_format.analysis_thresholds import Thresholds
from submillion.run_format.manifest import Manifest
from submillion.run_format.metrics import Metrics

KINDS: dict[str, Any] = {
    "manifest.json": Manifest,
    "metrics.json": Metrics,
    "analysis/intervals.json": Intervals,
    "analysis/confidence.json": Confidence,
    "analysis/thresholds.json": Thresholds,
    "analysis/errors.json": Errors,
    "analysis/baseline.json": Baselines,
    "analysis/cross_validation.json": CrossValidated,
    "analysis/duplicates.json": Duplicates,
    "analysis/noise.json": Noise,
    "analysis/attribution.json": Attribution,
    "analysis/audit.json": Audit,
    "analysis/int8.json": Int8,
    "analysis/prefix_int8.json": PrefixInt8,
}
"""Path in the run -> type."""
PARTIAL = frozenset({"manifest.json"})
"""Files that gain entries while a run goes on, so that any of them may be absent."""
