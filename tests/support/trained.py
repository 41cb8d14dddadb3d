"""Small runs that are really trained, from texts in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import submillion
from submillion import Recipe, Run
from support.tiny import tiny_encoder, tiny_texts

FIELDS = {
    "lora.r": 2,
    "lora.layers": "all",
    "data.max_length": 24,
    "train.epochs": 2,
    "train.learning_rate": 0.01,
    "train.threads": 1,
}


def tiny_fields(home: Path) -> dict[str, Any]:
    """Return recipe fields that train in a second: a tiny encoder in `home`, which is made if it is not there."""
    encoder = home / "encoder"
    if not encoder.is_dir():
        tiny_encoder(encoder)
    return FIELDS | {"encoder.source": str(encoder)}


def recipe_in(home: Path, **fields: Any) -> Recipe:
    """Return the shipped recipe `r8` with `tiny_fields`, and other fields by dotted name."""
    values = tiny_fields(home) | fields
    return Recipe.load("r8", [f"{name}={value}" for name, value in values.items()])


def two_classes(rows: int = 60, seed: int = 0) -> tuple[list[str], list[int]]:
    """Return texts of two classes, 0 and 1, that a tiny encoder learns to tell apart."""
    texts, labels = tiny_texts(rows, seed)
    return texts, [label % 2 for label in labels]


def trained_in(home: Path, **options: Any) -> Run:
    """Train a small run `home`/run from memory; options go to `submillion.train`."""
    texts, labels = two_classes()
    given = {"texts": texts, "labels": labels, "quiet": True} | options
    return submillion.train(recipe_in(home), home / "run", **given)
