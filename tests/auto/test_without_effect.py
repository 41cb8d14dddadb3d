"""Tests of auto/without_effect.py: the caller's fields that change nothing are named."""

from __future__ import annotations

import pytest

from submillion import notices
from submillion.auto.efforts import full_effort
from submillion.auto.rules import complete
from submillion.auto.without_effect import announce_fields_without_effect
from submillion.training import _resolved
from support.auto import asked, facts

CROSSED = "data.validation=cross-validation"


def announced(rows: int, *overrides: str) -> list[str]:
    known, (recipe, fixed) = facts(rows=rows, smallest=2, largest=1_000), asked(*overrides)
    decided, choices = complete(known, recipe, fixed, full_effort(known), "")
    announce_fields_without_effect(decided, fixed, {choice.field for choice in choices})
    return [notice["text"] for notice in notices.collected() if notice["code"] == "fields_without_effect"]


@pytest.mark.parametrize(
    ("rows", "overrides", "text"),
    [
        (
            200,
            ["train.eval_every=5", "train.objective=macro_f1"],
            f"train.eval_every and train.objective with {CROSSED}",
        ),
        (3_000, ["data.folds=3", "data.validation_size=0.2"], f"data.validation_size with {CROSSED}"),
        (
            200,
            ["data.validation=dev.csv", "data.validation_size=0.2", "data.folds=3"],
            "data.validation_size and data.folds with data.validation=dev.csv",
        ),
        (200, ["train.epochs=2", "train.steps=5"], "train.epochs with train.steps"),
    ],
)
def test_fields_without_effect_are_named_in_one_notice(rows: int, overrides: list[str], text: str) -> None:
    assert announced(rows, *overrides) == [f"without effect: {text}."]


def test_fields_of_a_named_recipe_are_named_too(capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["data.folds=3", "train.epochs=2", "train.steps=5"]
    for quiet in (True, False):
        _resolved("r8", overrides, from_memory=False, quiet=quiet)
    text = "without effect: data.folds with rows that are held out; train.epochs with train.steps"
    assert capsys.readouterr().err == f"note: {text}.\n"


@pytest.mark.parametrize(
    ("rows", "overrides"),
    [
        (200, []),
        (200, ["data.folds=3", "lora.r=4"]),
        (200, ["data.validation_size=0.2", "train.eval_every=5"]),
        (3_000, ["train.objective=macro_f1", CROSSED]),
        (3_000, ["train.epochs=2"]),
    ],
)
def test_fields_with_an_effect_are_not_named(rows: int, overrides: list[str]) -> None:
    assert announced(rows, *overrides) == []
