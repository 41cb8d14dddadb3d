"""The README is short, and its recipe table is right; every source file says in its first line what it contains."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from submillion.budget.count import count
from submillion.recipe import Recipe, recipe_names
from submillion.sources.fetch import encoder_config, known_labels

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "submillion"
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w-]+)` \|.*\| (?:refused: )?([\d,]+) \|$", README, flags=re.MULTILINE))
SOURCES = sorted(
    file.relative_to(SOURCE).as_posix()
    for pattern in ("*.py", "native/*.hpp", "native/*.cpp")
    for file in SOURCE.rglob(pattern)
)


def test_length() -> None:
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1500


def test_the_recipe_table_is_complete() -> None:
    assert sorted(ROWS) == recipe_names()


@pytest.mark.parametrize("name", recipe_names())
def test_counts_of_the_recipe_table(name: str) -> None:
    recipe = Recipe.load(name)
    labels = known_labels(recipe.data.train)
    assert labels is not None
    config = encoder_config(recipe.encoder.source)
    counted = count(config, len(labels), recipe.lora, recipe.head, recipe.budget)
    assert ROWS[name] == f"{counted.trainable:,}"


@pytest.mark.parametrize("name", SOURCES)
def test_first_line_is_one_sentence(name: str) -> None:
    text = (SOURCE / name).read_text(encoding="utf-8")
    line = text.split("\n")[0]
    if name.endswith(".py"):
        assert line.startswith('"""')
        # Not by `ast`: in Python 3.11 it can fail with a SystemError beside threads that other tests have left.
        line = line.removeprefix('"""').removesuffix('"""')
    else:
        line = line.removeprefix("//").strip()
    assert re.fullmatch(r"\S.*[^.]\.", line), "expected a first line that ends in one full stop"
    assert not re.search(r"[.!?] [A-Z]", line.removesuffix(".")), "expected one sentence"
