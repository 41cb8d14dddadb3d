"""Tests of model/heads.py: the modules that peft trains, by family and head."""

from __future__ import annotations

import pytest

from submillion.families.families import FAMILIES
from submillion.model.heads import adapted_modules, head_modules, outside_head, task_type, trained_modules
from submillion.recipe import HeadRecipe

STOCK, LINEAR, LORA = (HeadRecipe(kind=kind) for kind in ("stock", "linear", "lora"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("family", "beside_seq_cls", "output"),
    [
        ("roberta", [], ["classifier.out_proj"]),
        ("electra", [], ["classifier.out_proj"]),
        ("bert", ["bert.pooler.dense"], ["classifier"]),
        ("deberta-v2", ["pooler.dense"], ["classifier"]),
        ("modernbert", ["head.dense", "head.norm"], ["classifier"]),
        # For peft `classifier` also matches `pre_classifier`: the output layer is trained in place.
        ("distilbert", ["pre_classifier"], []),
    ],
)
def test_fully_trained_modules(family: str, beside_seq_cls: list[str], output: list[str]) -> None:
    assert task_type(STOCK) == "SEQ_CLS"
    assert trained_modules(FAMILIES[family], STOCK) == beside_seq_cls
    for head in (LINEAR, LORA):
        assert task_type(head) is None
        assert trained_modules(FAMILIES[family], head) == output


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_only_a_lora_head_adapts_the_projection(family: object) -> None:
    assert adapted_modules(family, LORA) == [family.projection]  # type: ignore[arg-type, attr-defined]
    assert adapted_modules(family, STOCK) == adapted_modules(family, LINEAR) == []  # type: ignore[arg-type]


def test_tensors_are_matched_by_whole_module_names() -> None:
    bert, distilbert = FAMILIES["bert"], FAMILIES["distilbert"]
    assert head_modules(FAMILIES["modernbert"]) == ["head.dense", "head.norm", "classifier"]
    names = ["bert.pooler.dense.weight", "classifier.bias", "bert.encoder.x", "bert.pooler.dense_more.weight"]
    assert outside_head(bert, names) == ["bert.encoder.x", "bert.pooler.dense_more.weight"]
    assert outside_head(distilbert, ["pre_classifier.weight", "classifier.weight"]) == []
