"""The names of the splits that a training makes; `evaluate` adds others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from submillion.recipe_data import CROSS_VALIDATION

SPLITS = ("train", "validation", "test")
SCORED_SPLITS = ("validation", "test")
REPORTED_SPLITS = ("test", "validation")
"""The scored ones in the order of a report: the test rows chose nothing."""


def split_title(split: str, data: Mapping[str, Any]) -> str:
    """Return the name of a split in sentences: predictions of folds are not those of a validation split.

    Args:
        split: its name in the run.
        data: the entry of the manifest.
    """
    crossed = (data.get("validation") or {}).get("from") == CROSS_VALIDATION
    return CROSS_VALIDATION if crossed and split == "validation" else split
