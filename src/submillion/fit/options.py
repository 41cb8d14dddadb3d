"""Options of one call of `fit` that do not change the trained adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from submillion.recipe import Recipe


@dataclass(frozen=True)
class FitOptions:
    """How one call of `fit` behaves; nothing here changes the trained adapter."""

    resume: bool = False
    """Continue from `checkpoint/latest`; adapter and history equal those of an uninterrupted training."""
    progress: bool = True
    """Show progress on standard error."""
    trackers: Sequence[str] = ()
    """Experiment trackers to log to: wandb, tensorboard, mlflow, trackio."""
    tracker_config: Mapping[str, Any] = field(default_factory=dict)
    """The whole recipe, as the trackers record it."""

    @classmethod
    def of(cls, recipe: Recipe, quiet: bool, resume: bool = False) -> Self:
        """Return the options of a recipe's training."""
        return cls(resume, not quiet, recipe.track, recipe.model_dump(mode="json"))
