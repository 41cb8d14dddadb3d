"""Facts for the rules of `auto`, without texts, encoder or machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from submillion.auto.asked import asked_recipe
from submillion.auto.facts import Facts, Machine, TextFacts, TokenFacts
from submillion.recipe import Recipe
from submillion.sources.catalog import ENCODERS

TEXTS = TextFacts(200, 4, 50, 50.0, 50, 230.0, 38.0, 0.0, 0, 0)
TOKENS = TokenFacts(200, 53.0, 50, 70, 110, 130, 0.0)
MACHINE = Machine(accelerator=False, arithmetic="bfloat16", cores=2)


def facts(encoder: str = "minilm", **changes: Any) -> Facts:
    """Return facts about balanced news; `changes` are fields of the texts, the tokens or the machine."""
    parts = [
        replace(part, **{name: value for name, value in changes.items() if hasattr(part, name)})
        for part in (TEXTS, TOKENS, MACHINE)
    ]
    config = ENCODERS[encoder].config
    return Facts(parts[0], parts[1], encoder, config, encoder in ("minilm", "mpnet-base"), parts[2])


def asked(*overrides: str) -> tuple[Recipe, frozenset[str]]:
    """Return the caller's recipe for a file of reviews, and the names of the fields that are set."""
    return asked_recipe("reviews.csv", overrides, None)
