"""The budget as a bar: what each part of the classifier trains, and how much of the budget is left."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

# Steps of colour in page.css: the adapters' are tints of one hue, the head's are greys.
ADAPTER_SHADES = (1, 2, 3, 4, 5, 6)
OTHER_SHADES = (7, 8)


@dataclass(frozen=True)
class Segment:
    """One part's share of the bar; places are in per cent of the bar's length."""

    part: str
    trainable: int
    start: float
    width: float
    shade: int


@dataclass(frozen=True)
class BudgetBar:
    """The bar: its parts in order, and where the budget ends."""

    segments: tuple[Segment, ...]
    trainable: int
    budget: int
    limit: float
    """Where the budget ends, in per cent of the bar's length; below 100 only for a run over its budget."""

    @property
    def left(self) -> int:
        """Parameters of the budget that nothing uses."""
        return self.budget - self.trainable

    @property
    def words(self) -> str:
        """The bar in one sentence, for those who do not see it."""
        parts = ", ".join(f"{segment.part} {segment.trainable:,}" for segment in self.segments)
        return f"{parts}; together {self.trainable:,} of {self.budget:,} trainable parameters."


def budget_bar(counted: dict[str, Any]) -> BudgetBar | None:
    """Return the bar of a manifest's budget; None where it holds none.

    Args:
        counted: the manifest's `budget`: `trainable`, `budget`, `parts` ({part: parameters}).
    """
    parts, budget = counted.get("parts"), counted.get("budget")
    if not parts or not budget:
        return None
    trainable = sum(parts.values())
    length = max(trainable, budget)
    shades = {True: itertools.cycle(ADAPTER_SHADES), False: itertools.cycle(OTHER_SHADES)}
    segments, before = [], 0
    for part, count in parts.items():
        shade = next(shades[part.startswith("lora.")])
        segments.append(Segment(part, count, 100 * before / length, 100 * count / length, shade))
        before += count
    return BudgetBar(tuple(segments), trainable, budget, 100 * budget / length)
