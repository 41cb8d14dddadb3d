"""Classifiers whose lower layers are frozen, with the tokens of a few texts, for the tests of the prefix cache."""

from __future__ import annotations

import torch

from submillion.data.tokens import Tokens
from submillion.model.build import build
from submillion.model.classifier import Classifier
from submillion.model.execution.reference import Reference
from submillion.model.precision import Precision
from support.tiny import LABELS, shared_encoder, tiny_recipe, tiny_texts, tiny_tokens

FLOAT32 = Precision("float32", False, "test")
BFLOAT16 = Precision("bfloat16", True, "test")
LAYERS = 4


def made(family: str, layers: object = "top-2", **sections: object) -> tuple[Classifier, Tokens]:
    """Return a classifier without dropout whose adapters all do something, and tokens of 13 texts."""
    folder = shared_encoder(family, LAYERS, dropout=0.0)
    lora = {"layers": layers, "dropout": 0.0} | sections.pop("lora", {})  # type: ignore[operator]
    classifier = build(folder, LABELS, tiny_recipe(folder, lora=lora, **sections))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(5)
        for value in classifier.parameters():
            if value.requires_grad:
                value += 0.1 * torch.randn(value.shape, generator=generator)
    texts, _ = tiny_texts(13, seed=8, max_words=24)
    return classifier, tiny_tokens(folder, texts)


def reference(classifier: Classifier, tokens: Tokens, precision: Precision) -> tuple[Reference, Tokens]:
    return Reference(classifier, precision), tokens
