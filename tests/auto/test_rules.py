"""Tests of auto/rules.py: the recipe that facts decide, without texts, encoder or machine."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from submillion.auto import rules
from submillion.auto.decision import Choice
from submillion.auto.efforts import LESSER, Effort, full_effort, lesser_effort, merits
from submillion.auto.facts import Facts
from submillion.auto.rules import KEPT, complete, encoder_for, steps_for
from submillion.budget.count import count
from submillion.errors import BadInput
from submillion.fit import batch_schedule
from submillion.recipe import Recipe
from support.auto import MACHINE, TEXTS, asked, facts


def decided(known: Facts, *overrides: str, effort: Effort | None = None) -> tuple[Recipe, dict[str, Choice]]:
    recipe, choices = complete(known, *asked(*overrides), effort or full_effort(known), "for the test")
    assert len({choice.field for choice in choices}) == len(choices)
    return recipe, {choice.field: choice for choice in choices}


@pytest.mark.parametrize("encoder", ["minilm", "mpnet-base", "roberta-base", "modernbert-base"])
@pytest.mark.parametrize("rows", [4, 32, 999, 1_000, 20_000, 1_000_000])
@pytest.mark.parametrize("classes", [2, 77])
def test_every_recipe_is_complete_and_within_the_budget(encoder: str, rows: int, classes: int) -> None:
    known = facts(encoder, rows=rows, classes=classes)
    recipe, choices = decided(known)
    assert count(known.config, classes, recipe.lora, recipe.head, recipe.budget).fits
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert all(choice.reason for choice in choices.values())
    assert recipe.train.steps


def test_every_choice_is_in_the_recipe() -> None:
    recipe, choices = decided(facts(rows=5_000))
    values = recipe.model_dump(mode="json")
    for field, choice in choices.items():
        section, name = field.split(".")
        assert values[section][name] == choice.value


def test_equal_facts_decide_equally() -> None:
    assert decided(facts(rows=777)) == decided(facts(rows=777))


def test_few_rows_are_all_trained_on_and_many_are_held_out() -> None:
    few, _ = decided(facts(rows=200))
    assert (few.data.validation, few.train.patience, few.data.test_size) == ("cross-validation", 0, None)
    some, _ = decided(facts(rows=3_000))
    assert (some.data.validation, some.data.validation_size, some.data.test_size) == (None, 0.1, None)
    assert (some.train.patience, some.train.eval_every) == (0, "10%")
    many, choices = decided(facts(rows=100_000))
    assert (many.data.test_size, many.data.validation_size) == (0.02, 0.0204)
    assert choices["data.test_size"].reason.startswith("2,000 of 100,000 rows")


def test_few_rows_keep_a_share_of_what_training_changes() -> None:
    assert decided(facts(rows=200))[0].train.wise_ft == KEPT
    ends = ("head.kind=linear", "head.start=probe", "data.validation=cross-validation", "train.patience=0")
    assert decided(facts(rows=200), "train.wise_ft=0.9", *ends)[0].train.wise_ft == 0.9
    assert decided(facts(rows=200), "train.wise_ft=null")[0].train.wise_ft is None
    assert decided(facts(rows=3_000))[0].train.wise_ft is None


@pytest.mark.parametrize(
    "other",
    [
        "head.start=random",
        "lora.variant=dora",
        "contrastive.steps=3",
        "train.patience=2",
    ],
)
def test_a_training_without_two_ends_keeps_all(other: str) -> None:
    assert decided(facts(rows=200), other)[0].train.wise_ft is None


def test_no_test_rows_are_taken_where_there_are_some_or_none_are_wanted() -> None:
    assert decided(facts(rows=100_000, test_rows=500))[0].data.test_size is None
    assert decided(facts(rows=100_000), "data.test=none")[0].data.test_size is None


def test_texts_are_cut_where_hardly_any_is_longer() -> None:
    assert decided(facts(p99=110, longest=130))[0].data.max_length == 144
    assert decided(facts(p99=110, longest=900))[0].data.max_length == 112
    assert decided(facts(p99=700, longest=900, rows=5_000))[0].data.max_length == 512
    assert decided(facts(p99=5, longest=6))[0].data.max_length == 16


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("lora.r=3", "lora.r", 3),
        ("data.max_length=64", "data.max_length", 64),
        ("train.steps=7", "train.steps", 7),
        ("data.folds=2", "data.folds", 2),
        ("lora.targets=query,value", "lora.targets", ["query", "value"]),
    ],
)
def test_the_callers_settings_win_and_the_table_says_so(override: str, field: str, value: object) -> None:
    recipe, choices = decided(facts(), override)
    section, name = field.split(".")
    assert getattr(getattr(recipe, section), name) == value
    assert (choices[field].value, choices[field].reason) == (value, "your setting")


def test_other_settings_follow_the_callers() -> None:
    assert decided(facts(), "lora.r=3")[0].lora.alpha == 6
    assert decided(facts(rows=5_000), "lora.targets=query")[0].lora.r > decided(facts(rows=5_000))[0].lora.r
    assert decided(facts(), "data.validation_size=0.2")[0].data.validation is None
    assert decided(facts(), "train.patience=2")[0].data.validation is None
    assert decided(facts(rows=5_000), "data.validation=cross-validation")[0].train.patience == 0
    epochs = decided(facts(), "train.epochs=2")[0].train
    assert (epochs.steps, epochs.epochs) == (None, 2)
    stock = decided(facts(), "head.kind=stock")[0].head
    assert (stock.kind, stock.start, stock.pooling) == ("stock", "random", "first")


@pytest.mark.parametrize("override", ["train.wise_ft=0.7", "head.finish=probe"])
@pytest.mark.parametrize("rows", [200, 3_000])
def test_what_follows_the_last_step_is_cross_validated(override: str, rows: int) -> None:
    recipe, choices = decided(facts(rows=rows), override)
    section, _, setting = override.partition(".")
    name, _, value = setting.partition("=")
    assert str(getattr(getattr(recipe, section), name)) == value
    assert recipe.data.validation == "cross-validation"
    few = "200 rows: all are trained on"
    assert choices["data.validation"].reason == (few if rows == 200 else f"{section}.{name} needs it")


def test_means_of_length_1_are_means_whatever_the_encoder_was_trained_for() -> None:
    recipe, choices = decided(facts("roberta-base", rows=3_000), "head.normalize=true")
    assert (recipe.head.normalize, recipe.head.pooling) == (True, "mean")
    assert choices["head.pooling"].reason == "head.normalize needs it"
    assert choices["head.normalize"].reason == "your setting"
    for contradiction in ("head.pooling=first", "head.kind=stock"):
        with pytest.raises(BadInput, match=r"head.pooling=mean with head.normalize"):
            decided(facts(), "head.normalize=true", contradiction)


def test_only_a_patience_above_0_needs_rows_that_are_held_out() -> None:
    assert decided(facts(), "train.patience=0")[0] == decided(facts())[0]


@pytest.mark.parametrize("override", ["data.folds=3", "data.repeats=2"])
def test_folds_that_are_set_are_those_of_a_cross_validation(override: str) -> None:
    recipe, choices = decided(facts(rows=3_000), override)
    assert recipe.data.validation == "cross-validation"
    assert choices["data.validation"].reason == f"{override.partition('=')[0]} needs it"
    with pytest.raises(BadInput, match="patience"):
        decided(facts(rows=3_000), override, "train.patience=2")


@pytest.mark.parametrize(
    ("rows", "overrides", "passes"),
    [
        (24, [], 20.0),
        (24, ["train.batch_size=4"], 20.0),
        (24, ["train.batch_size=64"], 20.0),
        (24, ["train.batch_size=4", "train.gradient_accumulation_steps=4"], 20.0),
        (24, ["train.gradient_accumulation_steps=4"], 20.0),
        (1_000, [], 3.2),
        (1_000, ["train.gradient_accumulation_steps=4"], 3.2),
        (1_000, ["train.batch_tokens=848"], 3.2),
        (100_000, ["train.gradient_accumulation_steps=4"], 2.0),
    ],
)
def test_the_passes_over_the_rows_do_not_depend_on_the_batch(
    rows: int, overrides: list[str], passes: float
) -> None:
    recipe, choices = decided(facts(rows=rows), "data.test=none", *overrides)
    assert choices["train.steps"].reason == f"{passes:.1f} passes over {rows:,} rows"
    train = recipe.train
    texts = train.batch_size if train.batch_tokens is None else train.batch_tokens / 53
    texts = min(rows, texts * train.gradient_accumulation_steps)
    assert train.steps is not None
    assert train.steps * texts / rows == pytest.approx(passes, abs=0.05)


def test_the_most_texts_of_a_batch_by_tokens_are_those_of_the_schedule() -> None:
    assert rules.MAX_TEXTS == batch_schedule.MAX_TEXTS


def test_alpha_follows_the_scale_of_rslora() -> None:
    recipe, choices = decided(facts(), "lora.rslora=true", "lora.r=16")
    assert recipe.lora.alpha / 16**0.5 == 2
    assert choices["lora.alpha"].reason == "alpha / sqrt(r) = 2"


def test_a_budget_decides_the_rank() -> None:
    small, large = (
        decided(facts(rows=5_000), f"budget={budget}")[0].lora.r for budget in (100_000, 1_000_000)
    )
    assert small < large


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(BadInput, match="patience"):
        decided(facts(), "data.validation=cross-validation", "train.patience=2")


def test_sentence_encoders_are_pooled_by_the_mean_and_others_by_the_first_token() -> None:
    assert decided(facts("mpnet-base"))[0].head.pooling == "mean"
    assert decided(facts("roberta-base"))[0].head.pooling == "first"


def test_sentence_encoders_with_few_rows_read_the_beginning_of_texts_as_means_of_length_1() -> None:
    long = {"p99": 700, "longest": 900}
    few, choices = decided(facts("mpnet-base", rows=1_999, **long))
    assert few.head.normalize and few.data.max_length == 256
    assert choices["data.max_length"].reason == "enough with few rows; 99 % of the texts have at most 700"
    many = decided(facts("mpnet-base", rows=2_000, **long))[0]
    other = decided(facts("roberta-base", rows=1_999, **long))[0]
    for recipe in (many, other):
        assert not recipe.head.normalize and recipe.data.max_length == 512
    assert not decided(facts("roberta-base", rows=40), "head.pooling=mean")[0].head.normalize
    assert not decided(facts("minilm", rows=40), "head.pooling=first")[0].head.normalize


def test_an_accelerator_trains_every_layer_on_many_rows() -> None:
    assert decided(facts("mpnet-base", accelerator=True, rows=5_000))[0].lora.layers == "all"
    assert decided(facts("mpnet-base", accelerator=True))[0].lora.layers == "top-4"
    assert decided(facts("mpnet-base"))[0].lora.layers == "top-4"
    assert decided(facts("minilm"))[0].lora.layers == "top-3"


def test_the_reason_for_all_layers_is_the_machine_or_their_number() -> None:
    known = facts("minilm")
    shallow = replace(known, config={**known.config, "num_hidden_layers": 3})
    assert decided(shallow)[1]["lora.layers"].reason == "the encoder has 3 layers"
    fast = facts("mpnet-base", accelerator=True, rows=5_000)
    assert decided(fast)[1]["lora.layers"].reason == "the accelerator is fast"
    assert "lower layers run once" not in decided(fast)[1]["lora.dropout"].reason


def test_small_classes_of_many_unbalanced_rows_are_helped() -> None:
    unbalanced = facts(rows=5_000, smallest=2, largest=2_000)
    wanted = "train.objective=macro_f1"

    def helped(known: Facts, *overrides: str) -> tuple[str, float]:
        train = decided(known, *overrides)[0].train
        return train.class_weights, train.logit_adjustment

    assert helped(unbalanced) == ("none", 0.5)
    assert helped(unbalanced, wanted) == ("balanced", 0)
    sizes = "classes have 2 to 2,000 rows"
    adjusted, weighted = decided(unbalanced)[1], decided(unbalanced, wanted)[1]
    assert adjusted["train.logit_adjustment"].reason == f"{sizes} (arXiv:2007.07314)"
    assert weighted["train.class_weights"].reason == f"macro F1 is wanted; {sizes}"
    for other in (facts(rows=5_000, smallest=1_000, largest=2_000), facts(rows=500, smallest=2, largest=300)):
        assert helped(other) == helped(other, wanted) == ("none", 0)
    assert helped(unbalanced, "train.class_weights=none") == ("none", 0)
    assert helped(unbalanced, wanted, "train.logit_adjustment=1") == ("none", 1)


def test_the_encoder_follows_script_and_time() -> None:
    cyrillic = facts(other_scripts=0.9).texts
    assert encoder_for(cyrillic, 60, 600, MACHINE)[0] == "xlm-roberta-base"
    assert encoder_for(TEXTS, 60, 600, MACHINE)[0] == "mpnet-base"
    name, reason = encoder_for(TEXTS, 6_000, 600, MACHINE)
    assert name == "minilm"
    assert "1 h 40 min" in reason
    assert "2 processor cores" in reason


def test_steps_are_those_of_the_studies_and_grow_with_the_rows() -> None:
    assert [steps_for(rows, 32) for rows in (4, 32, 256, 1_000)] == [20, 20, 40, 100]
    assert steps_for(1_000, 16) == 200
    steps = [
        steps_for(rows, 32) for rows in (2, 32, 64, 256, 1_000, 5_000, 20_000, 99_999, 100_000, 1_000_000)
    ]
    assert steps == sorted(steps)


def test_lesser_efforts_take_ever_less_and_give_the_reason() -> None:
    full = full_effort(facts("mpnet-base"))
    efforts = [lesser_effort(full, number, "10 minutes") for number in range(len(LESSER))]
    assert efforts[0] == full
    assert all(effort.reason == "10 minutes" for effort in efforts[1:])
    for one, next_one in pairwise(efforts):
        assert next_one.steps < one.steps
        assert next_one.layers <= one.layers
        assert next_one.max_length <= one.max_length
    recipe, choices = decided(facts("mpnet-base"), effort=efforts[-1])
    assert recipe.lora.layers == "top-1"
    assert "10 minutes" in choices["train.steps"].reason


@pytest.mark.parametrize("encoders", [1, 2])
def test_every_effort_of_the_last_encoder_is_tried(encoders: int) -> None:
    tried = merits(encoders)
    assert tried[0] == (0, 0)
    assert tried[-1] == (encoders - 1, len(LESSER) - 1)
    assert {number for place, number in tried if place == encoders - 1} == set(range(len(LESSER)))
