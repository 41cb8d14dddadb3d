"""Counts and plans as plain text tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from submillion.budget.count import Count
    from submillion.budget.planner import Plan
    from submillion.budget.time_model import Speed


def render_count(count: Count, speed: Speed | None = None) -> str:
    """Return one line per part with its arithmetic, sums of encoder and head, the total, and the verdict.

    A part that starts with `lora` or is `bias` belongs to the encoder's sum, one with `head` to the head's.

    Args:
        speed: what the configuration takes on this machine, where it was measured.
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
    if speed:
        rows.append(("texts/s", _rate(speed.samples_per_s), "in training steps"))
        before = (
            f", of which {_hours(speed.prefix_s / 3600)} for the layers below, once" if speed.prefix_s else ""
        )
        rows.append(("hours", _hours(speed.hours), f"all epochs and their evaluations{before}"))
    return _aligned(rows, right={1})


def render_plans(plans: Sequence[Plan], speeds: Sequence[Speed] = ()) -> str:
    """Return one line per plan: trainable parameters, configuration, cost; and its reason below.

    Args:
        plans: best first.
        speeds: what each takes on this machine; none where it was not measured.
    """
    header = ["", "trainable", "budget", "r", "targets", "layers", "head", "cost", "cached"]
    rows = [header] + [
        [
            str(place),
            f"{plan.count.trainable:,}",
            f"{plan.count.trainable / plan.count.budget:.1%}",
            str(plan.lora.r),
            ",".join(plan.lora.targets),
            str(plan.lora.layers),
            f"lora r {plan.head.r}" if plan.head.kind == "lora" else plan.head.kind,
            f"{plan.cost_per_token:.2f}",
            f"{plan.cost_cached:.2f}",
        ]
        for place, plan in enumerate(plans, start=1)
    ]
    if speeds:
        told = [("texts/s", "hours", "prefix")] + [
            (_rate(speed.samples_per_s), _hours(speed.hours), _hours(speed.prefix_s / 3600))
            for speed in speeds
        ]
        rows = [[*row, *cells] for row, cells in zip(rows, told, strict=True)]
    head, *lines = _aligned(rows, right={0, 1, 2, 3, 7, 8, 9, 10, 11}).splitlines()
    reasoned = [f"{line}\n   {plan.reason}" for line, plan in zip(lines, plans, strict=True)]
    legend = (
        "cost: operations per token in training, relative to r 16 on the query of all layers; "
        "cached: without the layers below the lowest adapter, which run once."
    )
    if speeds:
        legend += (
            "\ntexts/s: in training steps, the layers below the lowest adapter cached; hours: all epochs with "
            "their evaluations; prefix: hours of these for the layers below, once."
        )
    return "\n".join([head, *reasoned, legend])


def render_speed(measured: Mapping[str, Any]) -> str:
    """Return how the speeds were measured, and for which texts the hours are."""
    work = measured["workload"]
    epochs = f"{work['epochs']:.3g} epoch{'s' if work['epochs'] > 1 else ''}"
    return (
        f"speed: measured for {measured['seconds']:.1f} s on this machine with {measured['threads']} threads "
        f"({measured['device']}, {measured['execution']}, {measured['precision']}); hours are for {epochs} of "
        f"{work['rows']:,} texts of {work['tokens']:.0f} tokens in batches of {work['batch_size']} ({work['source']})."
    )


def _rate(texts_per_s: float) -> str:
    return f"{texts_per_s:,.0f}" if texts_per_s >= 100 else f"{texts_per_s:.3g}"


def _hours(hours: float) -> str:
    return f"{hours:.1f}" if hours >= 10 else f"{hours:.2f}"


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
