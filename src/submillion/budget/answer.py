"""What `submillion plan` answers: the best-filling configurations, or the count of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from submillion.budget.count import Count, count
from submillion.budget.planner import Plan, nearest, plan
from submillion.budget.table import render_count, render_plans
from submillion.errors import BadInput, Problem
from submillion.recipe import HeadRecipe, LoraRecipe, Recipe
from submillion.sources.fetch import encoder_config, known_labels

DEFAULT_BUDGET = 1_000_000


@dataclass(frozen=True)
class Answer:
    """One configuration's count (with what fits nearby, when it does not), or a ranked list of plans."""

    encoder: str
    num_labels: int
    budget: int
    counted: Count | None
    plans: list[Plan]

    @property
    def fits(self) -> bool:
        """False only for a counted configuration over the budget."""
        return self.counted is None or self.counted.fits

    def to_json(self) -> dict[str, Any]:
        """Return the count's keys (`trainable`, `total`, `parts`, `budget`, `fits`) or `plans`."""
        head: dict[str, Any] = {"encoder": self.encoder, "labels": self.num_labels, "budget": self.budget}
        plans = [entry.to_json() for entry in self.plans]
        if self.counted is None:
            return head | {"plans": plans}
        return head | self.counted.to_json() | ({} if self.fits else {"nearest": plans})

    def render(self) -> str:
        """Return the answer as plain text tables."""
        title = f"{self.encoder}, {self.num_labels} labels, budget {self.budget:,} trainable parameters"
        if self.counted is None:
            return f"{title}\n{render_plans(self.plans)}"
        text = f"{title}\n{render_count(self.counted)}"
        return text if self.fits else f"{text}\nNearest that fit:\n{render_plans(self.plans)}"


def answer(
    recipe: str | None,
    encoder: str,
    labels: int,
    budget: int | None,
    options: dict[str, Any],
    overrides: list[str],
) -> Answer:
    """Count one configuration (a recipe's, or the options given), or plan where nothing is fixed.

    Args:
        recipe: name or file of a recipe; it then gives encoder, labels, budget and configuration.
        encoder: catalog name, hub id or folder.
        labels: number of classes; for a recipe only where the recipe does not know them.
        budget: trainable parameters allowed; None takes the recipe's, or 1,000,000.
        options: `r`, `targets`, `layers`, `head` from the command line; None where not given.
        overrides: `--set` items; they need a recipe.

    Raises:
        BadInput: contradictory or unknown values.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if recipe is not None:
        if given:
            clash = ", ".join(f"--{name}" for name in given)
            raise BadInput(Problem("plan", "a recipe with --set, or options", f"both ({clash})"))
        resolved = Recipe.load(recipe, overrides)
        names = resolved.data.labels or known_labels(resolved.data.train)
        labels = len(names) if names else labels
        encoder, lora, head = resolved.encoder.source, resolved.lora, resolved.head
        budget = budget or resolved.budget
        config = encoder_config(encoder, resolved.encoder.revision)
    else:
        if overrides:
            raise BadInput(Problem("plan", "a recipe before --set", "--set alone", "Name a recipe first."))
        budget = budget or DEFAULT_BUDGET
        config = encoder_config(encoder)
        if not given:
            return Answer(encoder, labels, budget, None, plan(config, labels, budget))
        lora, head = _sections(given)
    counted = count(config, labels, lora, head, budget)
    plans = [] if counted.fits else nearest(config, labels, lora, head, budget)
    return Answer(encoder, labels, budget, counted, plans)


def _sections(given: dict[str, Any]) -> tuple[LoraRecipe, HeadRecipe]:
    """Read the command line's options as a recipe's sections, with a recipe's checks."""
    names = {"r": "lora.r", "targets": "lora.targets", "layers": "lora.layers", "head": "head.kind"}
    sets = [
        f"{names[name]}={_layer_list(value) if name == 'layers' else value}" for name, value in given.items()
    ]
    resolved = Recipe.load("agnews", ["lora.r=8", "lora.targets=query,value", "head.kind=stock", *sets])
    return resolved.lora, resolved.head


def _layer_list(text: str) -> str:
    """`0,1,2` on the command line is the list [0,1,2] of a recipe."""
    return f"[{text}]" if text.replace(",", "").replace(" ", "").isdigit() else text
