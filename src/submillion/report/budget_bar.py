"""The budget bar: the trainable parameters of each part, and the unused budget."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

# Shades of page.css: tints of one hue for adapters, greys for the head.
ADAPTER_SHADES = (1, 2, 3, 4, 5, 6)
OTHER_SHADES = (7, 8)


@dataclass(frozen=True)
class Segment:
    """One part of the bar; `start` and `width` are percentages of its length."""

    part: str
    trainable: int
    start: float
    width: float
    shade: int


@dataclass(frozen=True)
class BudgetBar:
    """The parts of the bar in order, and the end of the budget."""

    segments: tuple[Segment, ...]
    trainable: int
    budget: int
    limit: float
    """End of the budget in percent of the bar's length; below 100 only for a run over its budget."""

    @property
    def left(self) -> int:
        """Unused parameters of the budget; negative for a run over its budget."""
        return self.budget - self.trainable

    @property
    def words(self) -> str:
        """Text alternative of the bar."""
        parts = ", ".join(f"{segment.part} {segment.trainable:,}" for segment in self.segments)
        return f"{parts}; in total {self.trainable:,} of {self.budget:,} trainable parameters."


def budget_bar(counted: dict[str, Any]) -> BudgetBar | None:
    """Return the bar of a manifest's budget; None if the manifest has none.

    Args:
        counted: `budget` of the manifest: `trainable`, `budget`, `parts` ({part: parameters}).
    """
    parts, budget = counted.get("parts"), counted.get("budget")
    if not parts or not budget:
        return None
    trainable = sum(parts.values())
    total = max(trainable, budget)
    shades = {True: itertools.cycle(ADAPTER_SHADES), False: itertools.cycle(OTHER_SHADES)}
    segments, before = [], 0
    for part, count in parts.items():
        shade = next(shades[part.startswith("lora.")])
        segments.append(Segment(part, count, 100 * before / total, 100 * count / total, shade))
        before += count
    return BudgetBar(tuple(segments), trainable, budget, 100 * budget / total)
