"""The search space: the distribution of each field, restricted so that every drawn recipe fits the budget."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from submillion.errors import BadInput, OverBudget
from submillion.recipe import Recipe
from submillion.recipe_classifier import settle_bias, variant_of
from submillion.study.cells import level_name
from submillion.study.fill_rank import count_recipe, fill_rank, largest_fitting

RANKS = ("head.r", "lora.r")  # drawn in this order after all other fields, which decide the largest rank
DIGITS = 3  # significant digits of a drawn number


@dataclass(frozen=True)
class Distribution:
    """What one draw chooses from: choices, or the numbers of a range."""

    name: str
    """The field; if only some of its choices fit, also these: optuna allows one set of choices per name."""
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    """Included."""
    log: bool = False
    step: float | None = None
    integer: bool = False


@dataclass(frozen=True)
class Dimension:
    """A field that is searched."""

    field: str
    choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Name -> value; empty for a range."""
    low: float = 0
    high: float = 0
    """Included."""
    log: bool = False
    step: float | None = None
    integer: bool = False

    def end(self, top: bool) -> float:
        """Return the lowest number of a range or its highest; steps are counted from the lowest."""
        if not top:
            return self.low
        if self.step is None:
            return self.high
        return self.low + (self.high - self.low) // self.step * self.step

    def rounded(self, number: float) -> float:
        """Return a drawn number as a recipe states it."""
        if self.integer:
            return int(number)
        if self.step is not None:
            return round(float(number), 10)  # removes the binary fractions of summed steps
        return min(max(float(f"{number:.{DIGITS}g}"), self.low), self.high)


class Space:
    """The dimensions of a search around a base recipe."""

    def __init__(
        self,
        dimensions: Iterable[Dimension],
        values: Mapping[str, Any],
        base: Recipe,
        fill: bool,
        num_labels: int,
    ) -> None:
        """Take dimensions that `read_space` has checked.

        Args:
            dimensions: the fields to search.
            values: the keys of the base recipe as its file and the study set them, without defaults.
            base: the same as a recipe.
            fill: do not draw ranks; each recipe gets the largest one within the budget.
            num_labels: number of classes.
        """
        self.dimensions = sorted(
            dimensions,
            key=lambda dimension: -1 if dimension.field not in RANKS else RANKS.index(dimension.field),
        )
        self._values, self.num_labels = values, num_labels
        self._scale, self._fill = base.lora.alpha / base.lora.r, fill
        self._fits_cache: dict[str, bool] = {}

    @property
    def fields(self) -> list[str]:
        """The searched fields in the order in which they are drawn."""
        return [dimension.field for dimension in self.dimensions]

    def draw(self, sample: Callable[[Distribution], Any]) -> tuple[dict[str, str], dict[str, Any]]:
        """Draw one point; each field is drawn from the values that fit together with those drawn before.

        Args:
            sample: returns one of the choices of a distribution, or a number from low to high.

        Returns:
            Field -> name of its value, and field -> value. Only the latter has the rank that was filled in, and the
            alpha that follows the rank.
        """
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        for dimension in self.dimensions:
            field = dimension.field
            if dimension.choices:
                fitting = [
                    name
                    for name, value in dimension.choices.items()
                    if self.is_feasible(values | {field: value})
                ]
                subset = f" of {' | '.join(fitting)}" if len(fitting) < len(dimension.choices) else ""
                names[field] = sample(Distribution(field + subset, tuple(fitting)))
                values[field] = dimension.choices[names[field]]
                continue
            values[field] = dimension.rounded(sample(self._range(dimension, values)))
            names[field] = level_name(values[field])
        if self._fill:
            recipe = self.recipe(values)
            values |= {"lora.r": recipe.lora.r, "lora.alpha": recipe.lora.alpha}
        return names, self._with_alpha(values)

    def recipe(self, settings: Mapping[str, Any]) -> Recipe:
        """Return the base recipe with these fields, and with the largest rank if the study fills ranks.

        Raises:
            BadInput: the fields do not suit each other or the encoder.
            ValidationError: a value is not allowed.
            OverBudget: no rank fits.
        """
        recipe = Recipe.model_validate(with_fields(self._values, self._with_alpha(settings)))
        if not self._fill:
            return recipe
        filled = fill_rank(recipe, recipe.budget, self._scale, self.num_labels)
        if filled is None:
            raise OverBudget("over budget at every rank")
        return filled

    def is_feasible(self, settings: Mapping[str, Any]) -> bool:
        """Return whether some recipe with these values fits the budget."""
        for dimension in self.dimensions:
            if dimension.choices and dimension.field not in settings:
                return any(
                    self.is_feasible({**settings, dimension.field: value})
                    for value in dimension.choices.values()
                )
        return all(self._fits({**corner, **settings}) for corner in self._corners())

    def _with_alpha(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Add the alpha of a drawn rank at the base's alpha / r, unless alpha is searched."""
        if "lora.r" not in settings or "lora.alpha" in self.fields:
            return dict(settings)
        return {**settings, "lora.alpha": self._scale * settings["lora.r"]}

    def _range(self, dimension: Dimension, values: Mapping[str, Any]) -> Distribution:
        low, high = dimension.low, dimension.high
        if dimension.field in RANKS:
            largest = largest_fitting(
                lambda r: self.is_feasible({**values, dimension.field: r}),
                int(low),
                int(high),
                int(dimension.step or 1),
            )
            if largest is None:  # earlier draws only take values that leave a rank
                raise AssertionError(f"{dimension.field}: no rank fits with {values}")
            high = largest
        return Distribution(dimension.field, (), low, high, dimension.log, dimension.step, dimension.integer)

    def _corners(self) -> list[dict[str, Any]]:
        """Return the lower and the upper ends of all ranges; for ranks the lower one twice, which trains least."""
        ranges = [dimension for dimension in self.dimensions if not dimension.choices]
        return [
            {dimension.field: dimension.end(top and dimension.field not in RANKS) for dimension in ranges}
            for top in (False, True)
        ]

    def _fits(self, settings: Mapping[str, Any]) -> bool:
        key = repr(sorted(settings.items()))
        if key not in self._fits_cache:
            try:
                self._fits_cache[key] = count_recipe(self.recipe(settings), self.num_labels).fits
            except (BadInput, ValidationError, OverBudget):
                self._fits_cache[key] = False
        return self._fits_cache[key]


def with_fields(values: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a recipe with these fields changed."""
    changed = copy.deepcopy(dict(values))
    before = variant_of(changed)
    for name, value in settings.items():
        *sections, last = name.split(".")
        section_values = changed
        for section in sections:
            section_values = section_values.setdefault(section, {})
        section_values[last] = value
    settle_bias(changed, before, settings)
    return changed
