"""The recipe by which an adopted run predicts: its encoder and its longest input, and nothing about a training."""

from __future__ import annotations

from pathlib import Path

from submillion.recipe import Recipe
from submillion.recipe_classifier import EncoderRecipe, HeadRecipe
from submillion.recipe_data import DataRecipe
from submillion.run_format.manifest import Manifest
from submillion.run_paths import located

UNKNOWN = "unknown"
"""Stands for whatever nobody knows about the training of an adopted adapter."""


def recipe_of(manifest: Manifest, run: Path) -> Recipe:
    """Return the recipe for predicting with an adopted run; the sections on adapters and training have no meaning.

    Args:
        manifest: of the run.
        run: its directory.
    """
    encoder, adopted = manifest["encoder"], manifest["adopted"]
    return Recipe(
        name=manifest["name"],
        budget=manifest["budget"]["budget"],
        encoder=EncoderRecipe(source=located(encoder["source"], run), revision=encoder["revision"]),
        data=DataRecipe(
            train=UNKNOWN,
            max_length=manifest["max_length"],
            text=adopted["text"],
            label=adopted["label"],
        ),
        head=HeadRecipe(kind="linear", pooling=adopted["pooling"], normalize=adopted.get("normalize", False)),
    )
