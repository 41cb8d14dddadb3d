"""Text tables of counts, plans and measured speeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from submillion.budget.count import Count
from submillion.budget.plan import Plan, head_text, layers_text
from submillion.budget.time_model import Speed
from submillion.terminal.text_table import align_columns
from submillion.wording import plural

NO_PLAN = "Nothing fits: even r 1 on one matrix of one layer with a linear head is over the budget."


def render_count(count: Count, speed: Speed | None = None) -> str:
    """Return one line per part with its arithmetic, sums of encoder and head, the total, and the budget.

    Args:
        count: parts named `head...` are summed up as the head, all others as the encoder.
        speed: the measured speed of the configuration, if any.
    """
    head = {name: size for name, size in count.parts.items() if name.startswith("head.")}
    encoder = {name: size for name, size in count.parts.items() if name not in head}
    rows: list[tuple[str, str, str]] = []
    for title, parts in (("encoder", encoder), ("head", head)):
        rows += [(f"  {name}", f"{size:,}", count.arithmetic[name]) for name, size in parts.items()]
        if len(parts) > 1:
            rows.append((f"  {title} total", f"{sum(parts.values()):,}", ""))
    share = f"of {count.total:,} in the model ({count.trainable / count.total:.2%})"
    rows.append(("trainable", f"{count.trainable:,}", share))
    spare = count.budget - count.trainable
    rows.append(
        ("budget", f"{count.budget:,}", f"{spare:,} to spare" if count.fits else f"over by {-spare:,}")
    )
    if speed:
        rows.append(("texts/s", _rate(speed.samples_per_s), "in training steps"))
        prefix = (
            f", including {_hours(speed.prefix_s / 3600)} to run the layers below once"
            if speed.prefix_s
            else ""
        )
        rows.append(("hours", _hours(speed.hours), f"all epochs with evaluations{prefix}"))
    return "\n".join(align_columns(rows, right={1}))


def render_plans(plans: Sequence[Plan], speeds: Sequence[Speed] = ()) -> str:
    """Return one line per plan with trainable parameters, configuration and cost, and its reason below.

    Args:
        plans: best first.
        speeds: the measured speed of each plan; empty if none was measured.
    """
    header = ["", "trainable", "budget", "r", "targets", "layers", "head", "cost", "cached"]
    rows = [header] + [
        [
            str(place),
            f"{plan.trainable:,}",
            f"{plan.trainable / plan.count.budget:.1%}",
            str(plan.lora.r),
            ",".join(plan.lora.targets),
            layers_text(plan.lora),
            head_text(plan.head),
            f"{plan.cost_per_token:.2f}",
            f"{plan.cost_cached:.2f}",
        ]
        for place, plan in enumerate(plans, start=1)
    ]
    if speeds:
        columns = [("texts/s", "hours", "prefix")] + [
            (_rate(speed.samples_per_s), _hours(speed.hours), _hours(speed.prefix_s / 3600))
            for speed in speeds
        ]
        rows = [[*row, *cells] for row, cells in zip(rows, columns, strict=True)]
    title, *lines = align_columns(rows, right={0, 1, 2, 3, 7, 8, 9, 10, 11})
    with_reasons = [f"{line}\n   {plan.reason}" for line, plan in zip(lines, plans, strict=True)]
    legend = (
        "cost: operations per training token, relative to r 16 on the query of all layers; cached: without the "
        "layers below the lowest adapter, which then run once per text."
    )
    if speeds:
        legend += (
            "\ntexts/s: in training steps with the layers below the lowest adapter cached; hours: all epochs with "
            "evaluations; prefix: the part of these hours in which the layers below run once."
        )
    return "\n".join([title, *with_reasons, legend])


def render_refusal(
    count: Count, plans: Sequence[Plan], speed: Speed | None = None, speeds: Sequence[Speed] = ()
) -> str:
    """Return the count of a configuration over its budget, and the nearest plans that fit.

    Args:
        count: the count over its budget.
        plans: the nearest plans; empty if nothing fits.
        speed: the measured speed of the configuration, if any.
        speeds: the measured speed of each plan; empty if none was measured.
    """
    nearest = f"Nearest that fit:\n{render_plans(plans, speeds)}" if plans else NO_PLAN
    return f"{render_count(count, speed)}\n{nearest}"


def render_speed(measured: Mapping[str, Any]) -> str:
    """Return how the speeds were measured, and which texts the hours are for."""
    work = measured["workload"]
    epochs = f"{work['epochs']:.3g} epoch{'s' if work['epochs'] > 1 else ''}"
    return (
        f"speed: measured for {measured['seconds']:.1f} s on this machine with {plural(measured['threads'], 'thread')} "
        f"({measured['device']}, {measured['execution']}, {measured['precision']}); hours are for {epochs} of "
        f"{work['rows']:,} texts of {work['tokens']:.0f} tokens in batches of {work['batch_size']} ({work['source']})."
    )


def _rate(texts_per_s: float) -> str:
    return f"{texts_per_s:,.0f}" if texts_per_s >= 100 else f"{texts_per_s:.3g}"


def _hours(hours: float) -> str:
    return f"{hours:.1f}" if hours >= 10 else f"{hours:.2f}"
