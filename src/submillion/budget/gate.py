"""The budget gate: refuses a configuration that trains more parameters than the budget allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from submillion.budget.count import Count
from submillion.budget.planner import nearest_plans
from submillion.budget.render import render_refusal
from submillion.errors import OverBudget
from submillion.families.families import family_of
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
    message = (
        f"over budget: {count.trainable:,} trainable parameters are {excess:,} more than the budget of "
        f"{count.budget:,}.\n{render_refusal(count, plans)}"
    )
    hidden = family_of(config).inventory(config, num_labels).hidden
    # A linear head of N classes, and the smallest adapter: rank 1 on one square matrix.
    most = (count.budget - 2 * hidden) // (hidden + 1)
    if not plans and num_labels > most > 1:
        message += (
            f"\nThis encoder has room for {most:,} classes. Merge or leave out some of the {num_labels:,}, or take an "
            f"encoder with fewer than {hidden:,} hidden units."
        )
    raise OverBudget(message)
