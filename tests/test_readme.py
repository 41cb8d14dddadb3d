"""What the README says of recipes and source files is so."""

from __future__ import annotations

import re

import pytest

from submillion.budget.count import count
from submillion.recipe import Recipe, recipe_names
from submillion.sources.fetch import encoder_config, known_labels
from support import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w-]+)` \|.*\| (?:refused: )?([\d,]+) \|$", README, flags=re.MULTILINE))


def test_the_table_has_every_recipe() -> None:
    assert sorted(ROWS) == recipe_names()


@pytest.mark.parametrize("name", recipe_names())
def test_the_tables_counts_are_the_recipes(name: str) -> None:
    recipe = Recipe.load(name)
    labels = known_labels(recipe.data.train)
    assert labels is not None
    config = encoder_config(recipe.encoder.source)
    counted = count(config, len(labels), recipe.lora, recipe.head, recipe.budget)
    assert ROWS[name] == f"{counted.trainable:,}"


def test_every_source_file_has_its_line() -> None:
    source = ROOT / "src" / "submillion"
    block = README.split("src/submillion/\n")[1].split("```")[0]
    named, rooms = [], {0: ""}  # the folder of what stands at each depth
    for indent, name in re.findall(r"^( +)([\w/]+(?:\.py)?) +\S", block, flags=re.MULTILINE):
        depth = len(indent) // 2 - 1
        if name.endswith("/"):
            rooms[depth + 1] = rooms[depth] + name
        elif name.endswith(".py"):
            named.append(rooms[depth] + name)
    files = [str(file.relative_to(source).as_posix()) for file in source.rglob("*.py")]
    assert sorted(named) == sorted(name for name in files if not name.endswith("__init__.py"))


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
