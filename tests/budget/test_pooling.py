"""Tests of budget/pooling.py: `head.pooling: auto` becomes first or mean before anything is counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from submillion.budget.plan_result import plan_or_count
from submillion.budget.pooling import with_pooling
from submillion.errors import BadInput
from submillion.recipe import Recipe
from submillion.run_inputs import gated
from submillion.sources.fetch import trained_with_mean
from support.tiny import shared_encoder, tiny_recipe

MODES = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}


def sentence_encoder(folder: Path, pooling: object) -> Path:
    """Copy the tiny BERT and add the pooling file of sentence-transformers."""
    shutil.copytree(shared_encoder("bert"), folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("pooling", "mean"),
    [
        (MODES, True),
        ({"pooling_mode": "mean"}, True),
        ({"pooling_mode": "cls"}, False),
        (MODES | {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, False),
        (MODES | {"pooling_mode_max_tokens": True}, False),  # both, one after the other
        ({}, False),
    ],
)
def test_a_sentence_encoder_in_a_folder_is_pooled_as_it_was_trained(
    tmp_path: Path, pooling: object, mean: bool
) -> None:
    folder = sentence_encoder(tmp_path / "encoder", pooling)
    assert trained_with_mean(str(folder)) is mean
    recipe = tiny_recipe(folder, head={"kind": "linear", "pooling": "auto"})
    assert with_pooling(recipe).head.pooling == ("mean" if mean else "first")


def test_an_encoder_without_a_pooling_file_is_pooled_by_its_first_token() -> None:
    recipe = tiny_recipe(shared_encoder("bert"), head={"kind": "stock", "pooling": "auto"})
    assert with_pooling(recipe).head.pooling == "first"


@pytest.mark.parametrize("name", ["minilm", "mpnet-base", "roberta-base", "xlm-roberta-base"])
def test_the_catalog_tells_it_of_its_encoders_without_the_hub(name: str) -> None:
    assert trained_with_mean(name) is (name in ("minilm", "mpnet-base"))


@pytest.mark.parametrize("chosen", ["first", "mean"])
def test_a_chosen_pooling_does_not_change(tmp_path: Path, chosen: str) -> None:
    other = MODES if chosen == "first" else {"pooling_mode": "cls"}
    recipe = tiny_recipe(
        sentence_encoder(tmp_path / "encoder", other), head={"kind": "linear", "pooling": chosen}
    )
    assert with_pooling(recipe) is recipe


@pytest.mark.parametrize("pooling", [["mean"], "mean", None])
def test_a_damaged_pooling_file_is_refused(tmp_path: Path, pooling: object) -> None:
    folder = sentence_encoder(tmp_path / "encoder", pooling)
    with pytest.raises(BadInput, match="a JSON object"):
        trained_with_mean(str(folder))


def test_a_head_that_cannot_read_the_mean_is_refused(tmp_path: Path) -> None:
    folder = sentence_encoder(tmp_path / "encoder", MODES)
    recipe = tiny_recipe(folder, head={"kind": "stock", "pooling": "auto"})
    with pytest.raises(BadInput, match="linear, since head.pooling=auto is the mean") as caught:
        gated(recipe, 4)
    assert "head.pooling" in caught.value.problems[0].remedy


def test_the_budget_counts_the_pooling_that_is_meant() -> None:
    """The trained biases of BERT's pooler are part of `first`, and absent with the mean."""
    counts = {}
    for pooling in ("first", "mean", "auto"):
        changed = ["encoder.source=minilm", "head.kind=linear", f"head.pooling={pooling}", "lora.bias=all"]
        recipe = Recipe.load("r8", [*changed, "lora.r=8"])
        planned = plan_or_count(recipe, None, None, None, {}, []).count
        assert planned == gated(recipe, 8)
        counts[pooling] = planned
    assert counts["auto"] == counts["mean"]
    assert counts["first"].trainable - counts["mean"].trainable == 384
