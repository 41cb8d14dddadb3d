"""The budget gate: refuses a configuration that trains more parameters than the budget allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from submillion.budget.count import Count
from submillion.budget.planner import nearest_plans
from submillion.budget.render import render_refusal
from submillion.errors import OverBudget
from submillion.recipe import HeadRecipe, LoraRecipe


def gate(
    count: Count, config: Mapping[str, Any], num_labels: int, lora: LoraRecipe, head: HeadRecipe
) -> None:
    """Refuse a configuration that is over its budget.

    Args:
        count: the result of `count` for the other arguments.
        config: the encoder's config.json.
        num_labels: number of classes.
        lora: the adapters.
        head: the head.

    Raises:
        OverBudget: with the count by part, the excess, and the nearest configurations that fit.
    """
    if count.fits:
        return
    plans = nearest_plans(config, num_labels, lora, head, count.budget)
    excess = count.trainable - count.budget
    raise OverBudget(
        f"over budget: {count.trainable:,} trainable parameters are {excess:,} more than the budget of "
        f"{count.budget:,}.\n{render_refusal(count, plans)}"
    )
