"""What a run is worth, computed from its saved predictions."""

from __future__ import annotations

from submillion.assess.score import assess_run

__all__ = ["assess_run"]
