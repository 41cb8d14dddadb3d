"""Tests of auto/facts.py: what is counted in texts and tokens."""

from __future__ import annotations

import json

import numpy as np
import pytest

from submillion.auto.facts import TextFacts, TokenFacts
from submillion.recipe import DataRecipe
from support.auto import facts


def test_rows_are_counted_by_class() -> None:
    texts = TextFacts.of([0, 0, 0, 2, 1, 1], ["one two three", "four"])
    assert (texts.rows, texts.classes, texts.smallest, texts.median, texts.largest) == (6, 3, 1, 2, 3)
    assert texts.balance == 3
    assert texts.words == 2


def test_letters_of_other_scripts_are_a_share_of_the_letters() -> None:
    assert TextFacts.of([0, 1], ["Ünïcode café", "plain 123"]).other_scripts == 0
    assert TextFacts.of([0, 1], ["дом", "abc"]).other_scripts == pytest.approx(0.5)
    assert TextFacts.of([0, 1], ["123", "!?"]).other_scripts == 0


def test_lengths_are_quantiles_that_occur() -> None:
    tokens = TokenFacts.of(np.arange(1, 101), 0.25)
    assert (tokens.median, tokens.p90, tokens.p99, tokens.longest) == (51, 91, 100, 100)
    assert tokens.mean == 50.5


def test_the_mean_after_truncation_is_at_most_the_limit() -> None:
    tokens = TokenFacts.of(np.array([10, 20, 600]), 0)
    assert tokens.read(DataRecipe(train="x", max_length=600)) == tokens.mean
    first, every = DataRecipe(train="x", max_length=64), DataRecipe(train="x", max_length=64, windows="all")
    assert (tokens.read(first), tokens.windows(first)) == (64, 1)
    assert (tokens.read(every), tokens.windows(every)) == (tokens.mean, tokens.mean / 64)


def test_the_manifest_takes_the_facts_without_the_encoders_configuration() -> None:
    known = facts()
    entry = json.loads(json.dumps(known.to_json()))
    assert entry["texts"]["rows"] == known.texts.rows
    assert "config" not in entry["encoder"]
