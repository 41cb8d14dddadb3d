"""Cells: the variants of the base recipe that a study trains, each once per seed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from submillion.budget.count import Count
from submillion.recipe import Recipe

BASE = "base"
MAX_SLUG = 100  # characters


@dataclass(frozen=True)
class Cell:
    """One variant of the base recipe."""

    levels: dict[str, str]
    """Axis -> level. Where the cell does not differ from the base, the level is "base"."""
    settings: dict[str, Any]
    """The fields in which the cell differs from the base, by dotted name."""
    recipe: Recipe
    """Complete except for the seed."""
    count: Count
    """Its parameters."""

    @property
    def name(self) -> str:
        """The levels that differ from the base's, as shown in tables."""
        return ", ".join(self.labels) or BASE

    @property
    def labels(self) -> list[str]:
        """`axis=level` for each axis on which the cell differs from the base."""
        return [f"{axis}={level}" for axis, level in self.levels.items() if level != BASE]

    @property
    def slug(self) -> str:
        """The name in file names; a long one is cut and made unique by a hash."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(self.labels)).strip("-") or BASE
        if len(name) <= MAX_SLUG:
            return name
        return f"{name[: MAX_SLUG - 11]}-{sha256(name.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class CellRun:
    """One run of a study: a cell trained with one seed."""

    cell: Cell
    seed: int

    @property
    def name(self) -> str:
        """Name of the run directory."""
        return f"{self.cell.slug}-seed{self.seed}"

    @property
    def recipe(self) -> Recipe:
        """The complete recipe."""
        return self.cell.recipe.model_copy(update={"seed": self.seed, "name": self.name})


def level_name(value: Any) -> str:
    """Return the name of a field's value in tables and file names."""
    if isinstance(value, list):
        return "+".join(map(str, value))
    return "none" if value is None else str(value)
