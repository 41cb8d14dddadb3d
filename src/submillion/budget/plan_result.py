"""What `submillion plan` answers: the best-filling configurations, or the count of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from submillion.budget.count import Count, count
from submillion.budget.planner import Plan, nearest, plan
from submillion.budget.render import render_count, render_plans, render_speed
from submillion.budget.time_model import Speed
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
    config: Mapping[str, Any] = field(default_factory=dict)
    """The encoder's config.json."""
    asked: LoraRecipe | None = None
    """The adapters of the configuration that was counted."""
    recipe: Recipe | None = None
    """The recipe that was counted, if it was one."""
    speeds: Sequence[Speed] = ()
    """What each of `loras` takes on this machine, where it was measured."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """How it was measured, and the `workload` that hours are told for."""

    @property
    def loras(self) -> list[LoraRecipe]:
        """The adapters of all configurations: first the counted one, then those of the plans."""
        return [*([self.asked] if self.asked else []), *(entry.lora for entry in self.plans)]

    @property
    def fits(self) -> bool:
        """False only for a counted configuration over the budget."""
        return self.counted is None or self.counted.fits

    def to_json(self) -> dict[str, Any]:
        """Return the count's keys (`trainable`, `total`, `parts`, `budget`, `fits`) or `plans`.

        Where speed was measured, each configuration has `speed`, and `measured` says how.
        """
        head: dict[str, Any] = {"encoder": self.encoder, "labels": self.num_labels, "budget": self.budget}
        mine, theirs = self._speeds()
        plans = [entry.to_json() for entry in self.plans]
        for entry, speed in zip(plans, theirs, strict=False):
            entry["speed"] = speed.to_json()
        foot: dict[str, Any] = {"measured": dict(self.measured)} if self.speeds else {}
        if self.counted is None:
            return head | {"plans": plans} | foot
        if mine:
            foot["speed"] = mine.to_json()
        return head | self.counted.to_json() | ({} if self.fits else {"nearest": plans}) | foot

    def render(self) -> str:
        """Return the answer as plain text tables."""
        title = f"{self.encoder}, {self.num_labels} labels, budget {self.budget:,} trainable parameters"
        mine, theirs = self._speeds()
        lines = [title]
        if self.counted is not None:
            lines.append(render_count(self.counted, mine))
            if not self.fits:
                lines.append("Nearest that fit:")
        if self.plans or self.counted is None:
            lines.append(render_plans(self.plans, theirs))
        if self.speeds:
            lines.append(render_speed(self.measured))
        return "\n".join(lines)

    def _speeds(self) -> tuple[Speed | None, Sequence[Speed]]:
        """Return the speed of the counted configuration and those of the plans, as far as there are."""
        if self.asked and self.speeds:
            return self.speeds[0], self.speeds[1:]
        return None, self.speeds


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
    resolved: Recipe | None = None
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
            return Answer(encoder, labels, budget, None, plan(config, labels, budget), config)
        lora, head = _sections(given)
    counted = count(config, labels, lora, head, budget)
    plans = [] if counted.fits else nearest(config, labels, lora, head, budget)
    return Answer(encoder, labels, budget, counted, plans, config, lora, resolved)


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
