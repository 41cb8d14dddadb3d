"""Plans an encoder's budget: the best configurations within it, or the count of one configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.arguments import check_counts
from submillion.budget.count import Count, count
from submillion.budget.plan import Plan
from submillion.budget.planner import best_plans, nearest_plans
from submillion.budget.pooling import with_pooling
from submillion.budget.render import render_count, render_plans, render_refusal, render_speed
from submillion.budget.time_model import Speed
from submillion.errors import BadInput, Problem
from submillion.recipe import HeadRecipe, LoraRecipe, Recipe
from submillion.sources.fetch import encoder_config, known_labels

DEFAULT_ENCODER, DEFAULT_LABELS, DEFAULT_BUDGET = "roberta-base", 4, 1_000_000


def plan(
    encoder: str | Path,
    n_classes: int,
    budget: int = DEFAULT_BUDGET,
    top: int = 12,
    revision: str | None = None,
) -> list[Plan]:
    """Return the best configurations within a budget, best first.

    Reads the encoder's config.json and no weights; encoders of the catalog need no network.

    Args:
        encoder: catalog name, hub id (org/name) or local folder.
        n_classes: number of classes, at least 2.
        budget: maximum trainable parameters.
        top: maximum number of plans.
        revision: hub revision of the encoder; None: the main branch.

    Returns:
        Plans; each has `lora`, `head`, `trainable`, `reason`, and `settings` for `Recipe.load`.

    Raises:
        OverBudget: not even the smallest configuration fits.
        BadInput: the encoder cannot be found or its family is not supported, there are fewer than 2 classes or
            less than 1 plan, or a number is invalid.

    Example:
        >>> best = plan("roberta-base", n_classes=4, budget=1_000_000)[0]
        >>> print(best)
        998,404 trainable (99.8% of 1,000,000): r 6, targets all-linear, layers all, head linear
        >>> recipe = Recipe.load("agnews", best.settings)
    """
    problems: list[Problem] = []
    if not isinstance(encoder, str | Path):
        problems.append(Problem("@{encoder}", "a catalog name, hub id or folder", repr(encoder)))
    check_counts({"n_classes": n_classes, "budget": budget, "top": top}, others=problems)
    return best_plans(encoder_config(str(encoder), revision), n_classes, budget, top)


@dataclass(frozen=True)
class PlanResult:
    """The result of `submillion plan`: ranked plans, or the count of one configuration.

    If the counted configuration is over the budget, `plans` are the nearest ones that fit.
    """

    encoder: str
    num_labels: int
    budget: int
    count: Count | None
    plans: list[Plan]
    config: Mapping[str, Any] = field(default_factory=dict)
    """The encoder's config.json."""
    lora: LoraRecipe | None = None
    """The adapters of the counted configuration."""
    recipe: Recipe | None = None
    """The counted recipe, if a recipe was counted."""
    speeds: Sequence[Speed] = ()
    """The measured speed of each entry of `loras`; empty if none was measured."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """How the speeds were measured, with the `workload` that the hours are for."""

    @property
    def loras(self) -> list[LoraRecipe]:
        """The adapters of all configurations: the counted one first, then those of the plans."""
        return [*([self.lora] if self.lora else []), *(plan.lora for plan in self.plans)]

    @property
    def fits(self) -> bool:
        """False only for a counted configuration over the budget."""
        return self.count is None or self.count.fits

    def to_json(self) -> dict[str, Any]:
        """Return `plans`, or the count's keys (`trainable`, `total`, `parts`, `budget`, `fits`, ...).

        If speeds were measured, each configuration has `speed`, and `measured` describes the measurement.
        """
        head: dict[str, Any] = {"encoder": self.encoder, "labels": self.num_labels, "budget": self.budget}
        count_speed, plan_speeds = self._speeds()
        plans = [plan.to_json() for plan in self.plans]
        for plan_json, speed in zip(plans, plan_speeds, strict=False):
            plan_json["speed"] = speed.to_json()
        foot: dict[str, Any] = {"measured": dict(self.measured)} if self.speeds else {}
        if self.count is None:
            return head | {"plans": plans} | foot
        if count_speed:
            foot["speed"] = count_speed.to_json()
        return head | self.count.to_json() | ({} if self.fits else {"nearest": plans}) | foot

    def render(self) -> str:
        """Return the result as text tables."""
        lines = [f"{self.encoder}, {self.num_labels} labels, budget {self.budget:,} trainable parameters"]
        count_speed, plan_speeds = self._speeds()
        if self.count is None:
            lines.append(render_plans(self.plans, plan_speeds))
        elif self.count.fits:
            lines.append(render_count(self.count, count_speed))
        else:
            lines.append(render_refusal(self.count, self.plans, count_speed, plan_speeds))
        if self.speeds:
            lines.append(render_speed(self.measured))
        return "\n".join(lines)

    def _speeds(self) -> tuple[Speed | None, Sequence[Speed]]:
        """Return the speed of the counted configuration, if any, and those of the plans."""
        if self.lora and self.speeds:
            return self.speeds[0], self.speeds[1:]
        return None, self.speeds


def plan_or_count(
    recipe: str | Recipe | None,
    encoder: str | None,
    labels: int | None,
    budget: int | None,
    options: Mapping[str, Any],
    overrides: Sequence[str],
) -> PlanResult:
    """Count one configuration (a recipe's, or the given options), or plan if nothing is fixed.

    Args:
        recipe: a recipe, its name or its file, which then determines encoder, budget and configuration.
        encoder: catalog name, hub id or folder, without a recipe; None means roberta-base.
        labels: number of classes; None means that of the recipe's data, or 4 if it is not known.
        budget: trainable parameters allowed, without a recipe; None means 1,000,000.
        options: `r`, `targets`, `layers` and `head` of the command line; None if not given.
        overrides: recipe overrides such as `lora.r=8`; they need a recipe.

    Raises:
        BadInput: contradictory or unknown values.
    """
    resolved: Recipe | None = None
    chosen = {name: value for name, value in options.items() if value is not None}
    if recipe is not None:
        refuse_options(options)
        resolved = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe, overrides)
        resolved = with_pooling(resolved)
        names = resolved.data.labels or known_labels(resolved.data.train)
        labels = labels or len(names or ())
        if not labels:
            labels = DEFAULT_LABELS
            notices.emit(
                "labels_assumed",
                f"the number of classes of {resolved.data.train} is not known here: {labels} labels are counted.",
                labels=labels,
            )
        encoder, lora, head = resolved.encoder.source, resolved.lora, resolved.head
        budget = resolved.budget
        config = encoder_config(encoder, resolved.encoder.revision)
    else:
        if overrides:
            raise BadInput(
                Problem("plan", "a recipe before @{sets}", "overrides alone", "Name a recipe first.")
            )
        encoder, labels = encoder or DEFAULT_ENCODER, labels or DEFAULT_LABELS
        budget = budget or DEFAULT_BUDGET
        config = encoder_config(encoder)
        if not chosen:
            return PlanResult(encoder, labels, budget, None, best_plans(config, labels, budget), config)
        lora, head = _sections(chosen)
    counted = count(config, labels, lora, head, budget)
    plans = [] if counted.fits else nearest_plans(config, labels, lora, head, budget)
    return PlanResult(encoder, labels, budget, counted, plans, config, lora, resolved)


def refuse_options(options: Mapping[str, Any]) -> None:
    """Refuse options of one configuration beside a recipe; raises BadInput.

    Args:
        options: as of `plan_or_count`.
    """
    if clash := ", ".join(f"--{name}" for name, value in options.items() if value is not None):
        raise BadInput(Problem("plan", "a recipe with @{sets}, or options", f"both ({clash})"))


def _sections(options: Mapping[str, Any]) -> tuple[LoraRecipe, HeadRecipe]:
    """Read the command line's options as sections of a recipe, with a recipe's checks."""
    fields = {"r": "lora.r", "targets": "lora.targets", "layers": "lora.layers", "head": "head.kind"}
    overrides = [
        f"{fields[name]}={_layer_list(value) if name == 'layers' else value}"
        for name, value in options.items()
    ]
    resolved = Recipe.load("agnews", ["lora.r=8", "lora.targets=query,value", "head.kind=stock", *overrides])
    return resolved.lora, resolved.head


def _layer_list(text: str) -> str:
    """Return `0,1,2` of the command line as the list `[0,1,2]` of a recipe."""
    return f"[{text}]" if text.replace(",", "").replace(" ", "").isdigit() else text
