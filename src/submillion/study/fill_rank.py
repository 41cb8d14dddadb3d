"""What the recipes of a study train: counted, and filled with the largest rank that still fits."""

from __future__ import annotations

from collections.abc import Callable

from submillion import notices
from submillion.budget.count import Count, count
from submillion.errors import BadInput
from submillion.recipe import Recipe
from submillion.sources.fetch import encoder_config, known_labels

MOST = 1 << 14  # no encoder that there is has a wider layer


def counted(recipe: Recipe, num_labels: int) -> Count:
    """Count what a recipe trains.

    Raises:
        BadInput: rank, targets or layers do not suit the encoder.
    """
    config = encoder_config(recipe.encoder.source, recipe.encoder.revision)
    return count(config, num_labels, recipe.lora, recipe.head, recipe.budget)


def class_count(recipe: Recipe) -> int:
    """Return how many classes there are; read out of the data where neither recipe nor catalog knows."""
    if names := recipe.data.labels or known_labels(recipe.data.train):
        return len(names)
    from submillion.data.corpus import load_corpus

    with notices.suppressed():  # each run will say it
        return len(load_corpus(recipe.data, recipe.seed).label_names)


def with_rank(recipe: Recipe, r: int, scale: float) -> Recipe:
    """Return the recipe with another rank of its adapters, alpha being `scale` times that."""
    return recipe.model_copy(update={"lora": recipe.lora.model_copy(update={"r": r, "alpha": scale * r})})


def filled(recipe: Recipe, allowed: int, scale: float, num_labels: int) -> Recipe | None:
    """Return the recipe with the largest rank that trains no more than is allowed; None where no rank does.

    Args:
        allowed: trainable parameters.
        scale: alpha over r.
    """

    def fits(r: int) -> bool:
        try:
            return counted(with_rank(recipe, r, scale), num_labels).trainable <= allowed
        except BadInput:  # a rank that no matrix of the encoder can have
            return False

    if recipe.lora.variant == "bitfit":  # it has no rank
        return recipe if counted(recipe, num_labels).trainable <= allowed else None
    r = largest(fits, 1, MOST)
    return None if r is None else with_rank(recipe, r, scale)


def largest(fits: Callable[[int], bool], low: int, high: int, step: int = 1) -> int | None:
    """Return the largest of low, low + step ... up to high that fits; None where low does not.

    Args:
        fits: what holds for a number holds for all lower ones.
    """
    if not fits(low):
        return None
    good, bad = 0, (high - low) // step + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        if fits(low + middle * step):
            good = middle
        else:
            bad = middle
    return low + good * step
