"""A plan: one configuration within the budget, with its count, its relative cost and the reason for its rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from submillion.budget.count import Count
from submillion.recipe import HeadRecipe, LoraRecipe


@dataclass(frozen=True, repr=False)
class Plan:
    """A configuration within the budget.

    `print(plan)` shows it in one line; `Recipe.load(name, plan.settings)` applies it to a recipe.
    """

    lora: LoraRecipe
    head: HeadRecipe
    count: Count
    cost_per_token: float
    """Operations per training token, relative to r 16 on the query of all layers."""
    cost_cached: float
    """The same, if the output of the layers below the lowest adapter is cached."""
    reason: str
    """Why the plan has its place in the list, in one sentence."""

    @property
    def trainable(self) -> int:
        """Trainable parameters."""
        return self.count.trainable

    @property
    def settings(self) -> list[str]:
        """The configuration as recipe overrides, e.g. `lora.r=6`."""
        return settings_of(self.lora, self.head)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration, its count (without `by_layer`), its costs, reason and settings."""
        count = self.count.to_json()
        del count["by_layer"]
        return {
            "r": self.lora.r,
            "alpha": self.lora.alpha,
            "targets": self.lora.targets,
            "layers": self.lora.layers,
            "head": self.head.kind,
            "head_r": self.head.r if self.head.kind == "lora" else None,
            **count,
            "cost_per_token": round(self.cost_per_token, 4),
            "cost_cached": round(self.cost_cached, 4),
            "reason": self.reason,
            "settings": self.settings,
        }

    def __str__(self) -> str:
        share = f"{self.trainable / self.count.budget:.1%} of {self.count.budget:,}"
        return (
            f"{self.trainable:,} trainable ({share}): r {self.lora.r}, targets {','.join(self.lora.targets)}, "
            f"layers {layers_text(self.lora)}, head {head_text(self.head)}"
        )

    def __repr__(self) -> str:
        return f"<Plan {self}>"


def head_text(head: HeadRecipe) -> str:
    """Return the head for a table: `stock`, `linear` or `lora r 16`."""
    return f"lora r {head.r}" if head.kind == "lora" else head.kind


def layers_text(lora: LoraRecipe) -> str:
    """Return the adapted layers as a recipe override spells them: `all`, `top-4` or `[0,5,11]`."""
    return lora.layers if isinstance(lora.layers, str) else f"[{','.join(map(str, lora.layers))}]"


def settings_of(lora: LoraRecipe, head: HeadRecipe) -> list[str]:
    """Return a configuration as recipe overrides."""
    items = [
        *([f"lora.variant={lora.variant}"] if lora.variant != "lora" else []),
        f"lora.r={lora.r}",
        f"lora.alpha={lora.alpha:g}",
        f"lora.targets={','.join(lora.targets)}",
        f"lora.layers={layers_text(lora)}",
        f"lora.bias={lora.bias}",
        f"head.kind={head.kind}",
    ]
    return [*items, f"head.r={head.r}"] if head.kind == "lora" else items
