"""Counts and plans as plain text tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from submillion.budget.count import Count
    from submillion.budget.planner import Plan


def render_count(count: Count) -> str:
    """Return one line per part with its arithmetic, sums of encoder and head, the total, and the verdict.

    A part that starts with `lora` or is `bias` belongs to the encoder's sum, one with `head` to the head's.
    """
    in_head = {name: size for name, size in count.parts.items() if name.startswith("head.")}
    in_encoder = {name: size for name, size in count.parts.items() if name not in in_head}
    rows: list[tuple[str, str, str]] = []
    for title, parts in (("encoder", in_encoder), ("head", in_head)):
        rows += [(f"  {name}", f"{size:,}", count.workings[name]) for name, size in parts.items()]
        if len(parts) > 1:
            rows.append((f"  {title} together", f"{sum(parts.values()):,}", ""))
    share = f"of {count.total:,} in the model ({count.trainable / count.total:.2%})"
    rows.append(("trainable", f"{count.trainable:,}", share))
    spare = count.budget - count.trainable
    rows.append(
        ("budget", f"{count.budget:,}", f"{spare:,} to spare" if count.fits else f"over by {-spare:,}")
    )
    return _aligned(rows, right={1})


def render_plans(plans: Sequence[Plan]) -> str:
    """Return one line per plan: trainable parameters, configuration, cost; and its reason below."""
    header = ("", "trainable", "budget", "r", "targets", "layers", "head", "cost", "cached")
    rows = [header] + [
        (
            str(place),
            f"{plan.count.trainable:,}",
            f"{plan.count.trainable / plan.count.budget:.1%}",
            str(plan.lora.r),
            ",".join(plan.lora.targets),
            str(plan.lora.layers),
            f"lora r {plan.head.r}" if plan.head.kind == "lora" else plan.head.kind,
            f"{plan.cost_per_token:.2f}",
            f"{plan.cost_cached:.2f}",
        )
        for place, plan in enumerate(plans, start=1)
    ]
    head, *lines = _aligned(rows, right={0, 1, 2, 3, 7, 8}).splitlines()
    told = [f"{line}\n   {plan.reason}" for line, plan in zip(lines, plans, strict=True)]
    legend = (
        "cost: operations per token in training, relative to r 16 on the query of all layers; "
        "cached: without the layers below the lowest adapter, which run once."
    )
    return "\n".join([head, *told, legend])


def _aligned(rows: Sequence[Sequence[str]], right: set[int]) -> str:
    """Join cells into columns two spaces apart; columns in `right` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
