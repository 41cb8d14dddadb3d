"""Counts the parameters that a study's recipes train, and finds the largest LoRA rank that fits."""

from __future__ import annotations

from collections.abc import Callable

from submillion import notices
from submillion.budget.count import Count, count
from submillion.budget.pooling import with_pooling
from submillion.data.corpus import load_corpus
from submillion.errors import BadInput
from submillion.recipe import Recipe
from submillion.sources.fetch import encoder_config, known_labels

MAX_RANK = 1 << 14  # above the width of every layer of the supported encoders


def count_recipe(recipe: Recipe, num_labels: int) -> Count:
    """Count the parameters that a recipe trains.

    Raises:
        BadInput: rank, targets or layers do not suit the encoder.
    """
    config = encoder_config(recipe.encoder.source, recipe.encoder.revision)
    return count(config, num_labels, recipe.lora, with_pooling(recipe).head, recipe.budget)


def number_of_classes(recipe: Recipe) -> int:
    """Return the number of classes; the data is read if neither the recipe nor the catalog lists them."""
    if names := recipe.data.labels or known_labels(recipe.data.train):
        return len(names)
    with notices.suppressed():  # each run emits them
        return len(load_corpus(recipe.data, recipe.seed).label_names)


def with_rank(recipe: Recipe, r: int, scale: float) -> Recipe:
    """Return the recipe with another LoRA rank and alpha = `scale` * r."""
    return recipe.model_copy(update={"lora": recipe.lora.model_copy(update={"r": r, "alpha": scale * r})})


def fill_rank(recipe: Recipe, allowed: int, scale: float, num_labels: int) -> Recipe | None:
    """Return the recipe with the largest rank that trains at most `allowed` parameters; None if no rank does.

    Args:
        recipe: its rank and alpha are replaced.
        allowed: trainable parameters.
        scale: alpha / r.
        num_labels: number of classes.
    """

    def fits(r: int) -> bool:
        try:
            return count_recipe(with_rank(recipe, r, scale), num_labels).trainable <= allowed
        except BadInput:  # a rank above the size of a matrix of the encoder
            return False

    if recipe.lora.variant == "bitfit":  # it has no rank
        return recipe if count_recipe(recipe, num_labels).trainable <= allowed else None
    r = largest_fitting(fits, 1, MAX_RANK)
    return None if r is None else with_rank(recipe, r, scale)


def largest_fitting(fits: Callable[[int], bool], low: int, high: int, step: int = 1) -> int | None:
    """Return the largest of low, low + step, ..., high that fits, by bisection; None if `low` does not fit.

    Args:
        fits: monotone: if a number fits, all lower numbers fit.
        low: first candidate.
        high: upper bound, included if it is a candidate.
        step: distance of the candidates.
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
