"""The space of a search: what is drawn for each field, so that every recipe drawn is within its budget."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from submillion.errors import BadInput, OverBudget
from submillion.recipe import Recipe
from submillion.study.fill_rank import counted, filled, largest

RANKS = ("head.r", "lora.r")  # in this order, after all else: what a rank may be depends on that
DIGITS = 3  # of a number that was drawn: what a person would write


@dataclass(frozen=True)
class Question:
    """What is to be drawn for a field: one of the choices, or a number of a range."""

    name: str
    """The field; where only some of its choices fit with what was drawn before, these too: another question."""
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    """Included."""
    log: bool = False
    step: float | None = None
    whole: bool = False
    """Only whole numbers."""


@dataclass(frozen=True)
class Dimension:
    """A field that is searched."""

    field: str
    choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Its values by how they are called; empty for a range."""
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    whole: bool = False


class Space:
    """Fields with their ranges around a base recipe."""

    def __init__(
        self,
        dimensions: Iterable[Dimension],
        values: Mapping[str, Any],
        base: Recipe,
        fill: bool,
        num_labels: int,
    ) -> None:
        """Take the dimensions as `read_space` checked them.

        Args:
            values: the base's keys as its file and the study set them, defaults left out.
            base: the same as a recipe.
            fill: ranks are not drawn; each recipe gets the largest one within the budget.
            num_labels: number of classes.
        """
        self.dimensions = sorted(
            dimensions, key=lambda one: -1 if one.field not in RANKS else RANKS.index(one.field)
        )
        self._values, self.num_labels = values, num_labels
        self._scale, self._fill = base.lora.alpha / base.lora.r, fill
        self._known: dict[str, bool] = {}

    @property
    def fields(self) -> list[str]:
        """The fields that are searched, in the order in which they are drawn."""
        return [one.field for one in self.dimensions]

    def draw(self, ask: Callable[[Question], Any]) -> tuple[dict[str, str], dict[str, Any]]:
        """Draw one point, each field from what fits with those drawn before.

        Args:
            ask: answers a question with one of its choices, or with a number from low to high.

        Returns:
            Field -> how its value is called, and field -> value; the rank that a recipe was filled with, and the alpha
            that follows the rank, are among the values alone.
        """
        called: dict[str, str] = {}
        drawn: dict[str, Any] = {}
        for one in self.dimensions:
            if one.choices:
                fitting = [
                    name for name, value in one.choices.items() if self.has(drawn | {one.field: value})
                ]
                some = f" of {' | '.join(fitting)}" if len(fitting) < len(one.choices) else ""
                called[one.field] = ask(Question(one.field + some, tuple(fitting)))
                drawn[one.field] = one.choices[called[one.field]]
                continue
            drawn[one.field] = _rounded(one, ask(self._question(one, drawn)))
            called[one.field] = in_words(drawn[one.field])
        if self._fill:
            whole = self.recipe(drawn)
            drawn |= {"lora.r": whole.lora.r, "lora.alpha": whole.lora.alpha}
        return called, self._scaled(drawn)

    def recipe(self, settings: Mapping[str, Any]) -> Recipe:
        """Return the base recipe with these fields, filled where the study says so.

        Raises:
            BadInput: the fields do not go together, with each other or with the encoder.
            ValidationError: a value is wrong.
            OverBudget: no rank that it could be filled with fits.
        """
        recipe = Recipe.model_validate(with_fields(self._values, self._scaled(settings)))
        if not self._fill:
            return recipe
        whole = filled(recipe, recipe.budget, self._scale, self.num_labels)
        if whole is None:
            raise OverBudget("over budget at every rank")
        return whole

    def has(self, settings: Mapping[str, Any]) -> bool:
        """Return whether fields that are drawn already leave anything that fits the budget."""
        for one in self.dimensions:
            if one.choices and one.field not in settings:
                return any(self.has({**settings, one.field: value}) for value in one.choices.values())
        return all(self._fits({**corner, **settings}) for corner in self._corners())

    def _scaled(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Add the alpha that goes with a drawn rank at the base's alpha / r, where alpha is not drawn itself."""
        if "lora.r" not in settings or "lora.alpha" in self.fields:
            return dict(settings)
        return {**settings, "lora.alpha": self._scale * settings["lora.r"]}

    def _question(self, one: Dimension, drawn: Mapping[str, Any]) -> Question:
        low, high = one.low, one.high
        if one.field in RANKS:
            best = largest(
                lambda r: self.has({**drawn, one.field: r}), int(low), int(high), int(one.step or 1)
            )
            if best is None:  # nothing is drawn that leaves no rank
                raise AssertionError(f"{one.field}: no rank fits with {drawn}")
            high = best
        return Question(one.field, (), low, high, one.log, one.step, one.whole)

    def _corners(self) -> list[dict[str, Any]]:
        """Return the ranges' lower ends, and their upper ones; of ranks the lower end alone, the smallest count."""
        ranges = [one for one in self.dimensions if not one.choices]
        return [
            {one.field: end(one, at_top and one.field not in RANKS) for one in ranges}
            for at_top in (False, True)
        ]

    def _fits(self, settings: Mapping[str, Any]) -> bool:
        key = repr(sorted(settings.items()))
        if key not in self._known:
            try:
                self._known[key] = counted(self.recipe(settings), self.num_labels).fits
            except (BadInput, ValidationError, OverBudget):
                self._known[key] = False
        return self._known[key]


def in_words(value: Any) -> str:
    """Return what a value is called in tables and names."""
    return "+".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


def end(one: Dimension, top: bool) -> float:
    """Return the lowest number of a range, or its highest, steps counted from the lowest."""
    if not top:
        return one.low
    return one.high if one.step is None else one.low + (one.high - one.low) // one.step * one.step


def _rounded(one: Dimension, number: float) -> float:
    if one.whole:
        return int(number)
    if one.step is not None:
        return round(float(number), 10)  # without what the sum of steps has of binary fractions
    return min(max(float(f"{number:.{DIGITS}g}"), one.low), one.high)


def with_fields(values: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's keys with these fields."""
    whole = copy.deepcopy(dict(values))
    for name, value in settings.items():
        *sections, last = name.split(".")
        place = whole
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return whole
