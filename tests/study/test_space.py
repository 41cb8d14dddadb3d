"""Tests of the search space: reading, refusals, and that every drawn recipe fits the budget."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion import notices
from submillion.errors import BadInput, OverBudget
from submillion.study.design import StudyDesign, read_study
from submillion.study.fill_rank import count_recipe, largest_fitting
from submillion.study.space import Distribution, Space

WIDE = {
    "lora.variant": {"choice": ["lora", "dora", "adalora", "vera", "bitfit", "pissa"]},
    "lora.targets": {"choice": [["all-linear"], ["query", "value"], "ffn_up"]},
    "lora.layers": {"choice": ["all", "top-2", [0, 5]]},
    "lora.bias": {"choice": ["none", "all"]},
    "head.kind": {"choice": ["stock", "linear", "lora"]},
    "train.lora_plus_ratio": {"low": 1.0, "high": 16.0, "log": True},
    "lora.dropout": {"low": 0.0, "high": 0.3, "step": 0.1},
    "lora.r": {"low": 4, "high": 384, "step": 4},
    "head.r": {"low": 1, "high": 200, "log": True},
}


def searching(folder: Path, search: dict[str, Any], **values: Any) -> StudyDesign:
    file = folder / "mine.yaml"
    whole = {"base": "r8", "search": search, "trials": 5} | values
    file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return read_study(file)


def at_random(rng: random.Random, asked: list[Distribution]) -> Any:
    def answer(question: Distribution) -> Any:
        asked.append(question)
        if question.choices:
            return rng.choice(question.choices)
        if not question.integer:
            number = rng.uniform(question.low, question.high)
            step = question.step or 1e-9
            return question.low + (number - question.low) // step * step
        step = int(question.step or 1)
        return rng.randrange(int(question.low), int(question.high) + 1, step)

    return answer


def rank_question(asked: list[Distribution]) -> Distribution:
    return next(question for question in asked if question.name == "lora.r")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Space:
    base = {"lora.r": 4, "lora.alpha": 8}
    design = searching(tmp_path_factory.mktemp("wide"), WIDE, set=base | {"budget": 400_000})
    assert design.space is not None
    return design.space


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_recipe_drawn_is_valid_and_within_the_budget(wide: Space, seed: int) -> None:
    _, drawn = wide.draw(at_random(random.Random(seed), []))
    recipe = wide.recipe(drawn)
    assert count_recipe(recipe, 8).trainable <= 400_000
    assert recipe.lora.r >= 4 and recipe.lora.alpha == 2 * recipe.lora.r
    assert recipe.lora.dropout in (0.0, 0.1, 0.2, 0.3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_rank_goes_up_to_the_largest_that_fits(wide: Space, seed: int) -> None:
    asked: list[Distribution] = []
    _, drawn = wide.draw(at_random(random.Random(seed), asked))
    top = int(rank_question(asked).high)
    assert count_recipe(wide.recipe(drawn | {"lora.r": top}), 8).trainable <= 400_000
    if top < 384:
        assert not wide.is_feasible(drawn | {"lora.r": top + 4})


def test_an_infeasible_choice_is_never_drawn(tmp_path: Path) -> None:
    # stock trains 384 x 384 + 384 + 384 x 8 + 8 = 150,920; query and value of a layer 2 x 768 at r 1: a budget of
    # 152,455 holds no rank with stock, and r 97 with linear (3,080): 97 x 1,536 = 148,992.
    search = {
        "head.kind": {"choice": ["stock", "linear"]},
        "lora.layers": {"choice": ["top-1", "top-2"]},
        "lora.r": {"low": 1, "high": 300},
    }
    base = {"budget": 152_455, "head.kind": "linear", "lora.r": 4, "lora.targets": ["query", "value"]}
    with pytest.MonkeyPatch.context() as patch:
        emitted: list[str] = []
        patch.setattr(notices, "emit", lambda code, text, **facts: emitted.append(text))
        space = searching(tmp_path, search, set=base | {"lora.layers": "top-1"}).space
    (only,) = emitted
    assert only.startswith("head.kind stock is never drawn: with it, no recipe")
    assert space is not None
    for seed in range(10):
        asked: list[Distribution] = []
        called, drawn = space.draw(at_random(random.Random(seed), asked))
        assert called["head.kind"] == "linear"
        assert asked[0] == Distribution("head.kind of linear", ("linear",))
        assert asked[1] == Distribution("lora.layers", ("top-1", "top-2"))
        assert rank_question(asked).high == {"top-1": 97, "top-2": 48}[drawn["lora.layers"]]


def test_hold_parameters_fills_ranks_up_to_the_budget(tmp_path: Path) -> None:
    search = {
        "lora.targets": {"choice": [["all-linear"], ["query"]]},
        "lora.dropout": {"low": 0.0, "high": 0.2},
    }
    design = searching(tmp_path, search, hold="parameters")
    assert design.space is not None
    for seed in range(5):
        called, drawn = design.space.draw(at_random(random.Random(seed), []))
        per_rank = {"all-linear": 3 * 6_912, "query": 3 * 768}[called["lora.targets"]]
        # Per rank and head as the recipe `r8` counts them; a rank is at most the hidden size.
        assert drawn["lora.r"] == min((1_000_000 - 150_920) // per_rank, 384)
        assert drawn["lora.alpha"] == 2 * drawn["lora.r"]


def test_drawn_numbers_are_rounded(tmp_path: Path) -> None:
    search = {"train.learning_rate": {"low": 1.23456e-3, "high": 2.34567e-3, "log": True}}
    space = searching(tmp_path, search).space
    assert space is not None
    for drawn, kept in (
        (1.23456e-3, 1.23456e-3),
        (0.001999987, 0.002),
        (0.0017654, 0.00177),
        (2.34567e-3,) * 2,
    ):
        called, values = space.draw(lambda question, drawn=drawn: drawn)
        assert values == {"train.learning_rate": kept} and called == {"train.learning_rate": str(kept)}


def test_an_invalid_space_is_refused_with_all_problems(tmp_path: Path) -> None:
    search = {
        "lora.dropuot": {"choice": [0.1, 0.2]},
        "seed": {"low": 1, "high": 9},
        "data.limit": {"choice": [100, 200]},
        "lora.dropout": {"low": 0.5, "high": 1.5},
        "lora.targets": {"choice": [["query"], ["qurey"]]},
        "lora.layers": {"choice": ["top-3", "top-99"]},
        "lora.bias": {"choice": ["none"]},
        "lora.variant": {"choices": ["lora", "dora"]},
        "lora.r": {"low": 8, "high": 4},
        "lora.alpha": {"low": 0, "high": 4, "log": True},
        "head.r": {"low": 1.0, "high": 4},
        "head.alpha": {"low": 1},
        "head.kind": "stock",
        "train.weight_decay": {"choice": [0.1, 0.1]},
        "data.text": {"choice": [["a", "b"], "a b"]},
        "train.warmup_ratio": {"low": 0.1, "high": 0.2, "step": 0.5},
    }
    with pytest.raises(BadInput) as error:
        searching(tmp_path, search)
    lines = str(error.value).splitlines()
    for field in search:
        assert any(field in line for line in lines), field
    assert "Did you mean 'lora.dropout'?" in str(error.value)
    assert "Did you mean 'choice'?" in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"axes": {"lora.dropout": [0.1]}}, "either axes or search, found both"),
        ({"search": None, "trials": None}, "either axes or search, found neither"),
        ({"trials": None}, "trials: expected the number of recipes to draw"),
        ({"trials": 0}, "trials"),
        ({"design": "grid"}, "design only together with axes, found search"),
        ({"search": None, "axes": {"lora.dropout": [0.1]}}, "trials only together with search, found axes"),
        ({"hold": "parameters"}, "a field other than lora.r and lora.alpha"),
        ({"search": {}}, "search"),
        ({"search": {f"train.{name}": {"choice": list(range(1, 60))} for name in ("epochs", "batch_size",
         "eval_batch_size")}}, "at most 10,000 combinations"),
    ],
)  # fmt: skip
def test_a_search_has_trials_and_no_axes(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        searching(tmp_path, **{"search": {"lora.r": {"low": 1, "high": 8}}} | values)


def test_a_space_in_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    search = {
        "lora.targets": {"choice": [["all-linear"], ["query", "value"]]},
        "lora.r": {"low": 64, "high": 99},
    }
    with pytest.raises(OverBudget, match="no recipe in the search space trains at most 200,000"):
        searching(tmp_path, search, set={"budget": 200_000, "lora.r": 1, "lora.targets": ["query"]})


def test_a_base_over_the_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OverBudget, match="base: "):
        searching(tmp_path, {"lora.dropout": {"low": 0.0, "high": 0.5}, "lora.r": {"low": 1, "high": 8}},
                  set={"lora.r": 100})  # fmt: skip


@given(low=st.integers(1, 50), count=st.integers(0, 60), step=st.integers(1, 7), limit=st.integers(0, 500))
def test_largest_is_the_last_that_fits(low: int, count: int, step: int, limit: int) -> None:
    numbers = range(low, low + count * step + 1, step)
    expected = max((number for number in numbers if number <= limit), default=None)
    assert largest_fitting(lambda number: number <= limit, low, low + count * step, step) == expected
