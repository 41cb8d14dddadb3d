"""Cells: the variants of the base recipe that a study trains, each once per seed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    hashed: bool = False
    """Whether a hash in the slug tells it from a cell whose name differs only in characters that no slug has."""

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
        other = "cell" if self.labels else BASE
        name = file_name("_".join(self.labels)) or other
        if len(name) <= MAX_SLUG and not self.hashed:
            return name
        whole = json.dumps(self.labels) if self.hashed else name
        return f"{name[: MAX_SLUG - 11]}-{sha256(whole.encode()).hexdigest()[:10]}"


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


def with_unique_slugs(cells: Sequence[Cell]) -> list[Cell]:
    """Return cells of which no two have one slug, even where file names do not distinguish capitals."""
    shared = Counter(cell.slug.casefold() for cell in cells)
    return [replace(cell, hashed=shared[cell.slug.casefold()] > 1 and bool(cell.labels)) for cell in cells]


def file_name(text: str) -> str:
    """Return a text with `-` for everything that not every file system allows in names."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")


def level_name(value: Any) -> str:
    """Return the name of a field's value in tables and file names."""
    if isinstance(value, list):
        return "+".join(map(str, value))
    return "none" if value is None else str(value)
