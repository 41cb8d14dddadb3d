"""Tests of budget/render.py: tables of counts and plans are aligned and show the counted numbers."""

from __future__ import annotations

from submillion.budget.count import count
from submillion.budget.planner import best_plans
from submillion.budget.render import render_count, render_plans
from submillion.recipe import HeadRecipe, LoraRecipe
from support.budget_models import REAL

ROBERTA = REAL["roberta-base"]


def test_a_count_that_fits() -> None:
    lora, head = LoraRecipe(r=6, targets=["query", "ffn_up"]), HeadRecipe(kind="linear")
    assert render_count(count(ROBERTA, 4, lora, head, 1_000_000)) == "\n".join(
        [
            "  lora.query       110,592  12 layers x r 6 x (768 + 768)",
            "  lora.ffn_up      276,480  12 layers x r 6 x (768 + 3,072)",
            "  encoder total    387,072",
            "  head.output        3,076  768 x 4 + 4",
            "trainable          390,148  of 125,035,780 in the model (0.31%)",
            "budget           1,000,000  609,852 to spare",
        ]
    )


def test_a_count_over_the_budget_shows_the_excess() -> None:
    lora = LoraRecipe(r=1, targets=["query"], layers="top-1")
    lines = render_count(count(ROBERTA, 4, lora, HeadRecipe(), 500_000)).splitlines()
    assert lines[-1] == "budget             500,000  over by 95,204"
    assert "  lora.query         1,536  1 layer x r 1 x (768 + 768)" in lines


def test_plans_are_aligned_with_their_header() -> None:
    plans = best_plans(ROBERTA, 4, 1_000_000)
    header, *lines, legend = render_plans(plans).splitlines()
    rows, reasons = lines[::2], lines[1::2]
    assert [reason.strip() for reason in reasons] == [entry.reason for entry in plans]
    assert all(
        row.rstrip().endswith(f"{entry.cost_cached:.2f}") for row, entry in zip(rows, plans, strict=True)
    )
    end = header.index("trainable") + len("trainable")
    assert [row[:end].split()[-1] for row in rows] == [f"{entry.count.trainable:,}" for entry in plans]
    start = header.index("targets")
    assert [row[start:].split()[0] for row in rows] == [",".join(entry.lora.targets) for entry in plans]
    assert "lora r 16" in rows[1]
    assert legend.startswith("cost: operations per training token")
