"""The caller's own fields that the other settings of a recipe leave without effect."""

from __future__ import annotations

from collections.abc import Collection

from submillion import notices
from submillion.recipe import Recipe
from submillion.recipe_data import CROSS_VALIDATION
from submillion.wording import listed

HELPS = {"train.class_weights", "train.logit_adjustment"}
"""Fields that are chosen by `train.objective`."""


def announce_fields_without_effect(
    recipe: Recipe, fixed: Collection[str], chosen: Collection[str] = ()
) -> None:
    """Name the caller's fields that change nothing, in one notice.

    Args:
        recipe: with the caller's fields.
        fixed: their dotted names.
        chosen: those of the fields that `auto` has chosen.
    """
    validation = f"data.validation={recipe.data.validation}"
    crossed = recipe.data.validation == CROSS_VALIDATION
    unused = []
    if recipe.data.validation is not None:
        unused.append(("data.validation_size", validation))
    if crossed:
        unused.append(("train.eval_every", validation))
        if HELPS.isdisjoint(chosen):
            unused.append(("train.objective", validation))
    else:
        held_out = validation if recipe.data.validation else "rows that are held out"
        unused += [("data.folds", held_out), ("data.repeats", held_out)]
    if recipe.train.steps is not None:
        unused.append(("train.epochs", "train.steps"))
    found = [(field, reason) for field, reason in unused if field in fixed]
    if found:
        reasons = dict.fromkeys(reason for _, reason in found)
        parts = [
            f"{listed(field for field, why in found if why == reason)} with {reason}" for reason in reasons
        ]
        notices.emit(
            "fields_without_effect",
            f"without effect: {'; '.join(parts)}.",
            fields=[field for field, _ in found],
        )
