"""The pooling that `head.pooling: auto` stands for, by the way in which a recipe's encoder was trained."""

from __future__ import annotations

from submillion.errors import BadInput, Problem
from submillion.recipe import Recipe
from submillion.sources.fetch import trained_with_mean


def with_pooling(recipe: Recipe) -> Recipe:
    """Return the recipe with head.pooling first or mean; other values than auto do not change.

    Mean is for a sentence encoder that was trained with it (Reimers and Gurevych, "Sentence-BERT", arXiv:1908.10084,
    section 3), first for every other encoder. To be called before anything is counted or built.

    Raises:
        BadInput: the encoder cannot be found, or it was trained with the mean and head.kind is not linear.
    """
    head = recipe.head
    if head.pooling != "auto":
        return recipe
    mean = trained_with_mean(recipe.encoder.source, recipe.encoder.revision)
    if mean and head.kind != "linear":
        raise BadInput(
            Problem(
                "head.kind",
                "linear, since head.pooling=auto is the mean for this sentence encoder",
                head.kind,
                "Use @{head.kind=linear} or @{head.pooling=first}.",
            )
        )
    return recipe.model_copy(
        update={"head": head.model_copy(update={"pooling": "mean" if mean else "first"})}
    )
