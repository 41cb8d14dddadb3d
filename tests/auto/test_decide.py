"""Tests of auto/decide.py: texts in files and in memory, with a tiny encoder; no training."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from submillion import notices
from submillion.auto import decide as module
from submillion.auto import time_limit
from submillion.auto.decide import decide
from submillion.auto.durations import NominalSpeed, total
from submillion.auto.facts import Facts
from submillion.budget.time_model import Workload
from submillion.data.corpus import load_corpus
from submillion.data.in_memory import labelled_rows
from submillion.errors import BadInput, OverBudget
from submillion.recipe import Recipe
from support.auto import MACHINE
from support.tiny import LABELS, shared_encoder, tiny_texts

TEXTS, NUMBERS = tiny_texts(60, 0)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    return write(tmp_path / "my reviews.csv", TEXTS, [LABELS[number] for number in NUMBERS])


def write(file: Path, texts: list[str], labels: list[str]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("text", "label"), *zip(texts, labels, strict=True)])
    return file


def overrides(*more: str) -> list[str]:
    return [f"encoder.source={shared_encoder()}", *more]


def test_a_file_becomes_a_complete_recipe_named_by_the_data(reviews: Path) -> None:
    decision = decide(reviews, overrides=overrides("train.epochs=1"), progress=False)
    recipe = decision.recipe
    assert (recipe.name, recipe.data.train) == ("my-reviews", str(reviews))
    assert recipe.data.validation == "cross-validation"
    assert recipe.head.pooling == "first"
    assert decision.facts["texts"]["rows"] == 60
    assert decision.facts["texts"]["classes"] == 4
    assert decision.facts["tokens"]["longest"] <= recipe.data.max_length
    table = decision.render().splitlines()
    assert table[0].split() == ["setting", "value", "reason"]
    assert len(table) == len(decision.choices) + 2
    assert any("your setting" in line for line in table if line.startswith("encoder.source"))
    assert json.loads(json.dumps(decision.to_json()))["choices"][0]["field"] == "encoder.source"


def test_the_order_of_the_rows_changes_nothing(reviews: Path, tmp_path: Path) -> None:
    reverse = write(tmp_path / "other.csv", TEXTS[::-1], [LABELS[number] for number in NUMBERS[::-1]])
    one, two = (decide(file, overrides=overrides(), progress=False) for file in (reviews, reverse))
    assert one.choices == two.choices
    assert one.facts == two.facts


def test_rows_from_memory_and_a_file_decide_alike(reviews: Path) -> None:
    rows = labelled_rows(TEXTS, [LABELS[number] for number in NUMBERS])
    in_memory = decide(rows=rows, overrides=overrides(), progress=False)
    assert in_memory.recipe.name == "auto"
    assert in_memory.rows is rows
    assert in_memory.choices == decide(reviews, overrides=overrides(), progress=False).choices


def test_rows_from_memory_may_have_no_test_split() -> None:
    rows = labelled_rows(TEXTS, NUMBERS)
    assert decide(rows=rows, overrides=overrides("data.test=none"), progress=False).recipe.data.test == "none"
    assert decide(rows=rows, overrides=overrides(), progress=False).recipe.data.test is None


def test_rows_from_memory_may_have_a_test_file_and_no_second_source(tmp_path: Path) -> None:
    rows = labelled_rows(TEXTS, [LABELS[number] for number in NUMBERS])
    test = write(tmp_path / "test.csv", ["goal season one", "treaty border two"], ["Sports", "World"])
    decision = decide(rows=rows, overrides=overrides(f"data.test={test}"), progress=False)
    assert decision.recipe.data.test == str(test)
    assert decision.facts["texts"]["test_rows"] == 2
    with pytest.raises(BadInput, match="not both, found reviews.csv, and texts from memory"):
        decide(rows=rows, overrides=overrides("data.train=reviews.csv"), progress=False)


def test_training_texts_that_are_named_twice_are_refused(reviews: Path) -> None:
    rows = labelled_rows(TEXTS, NUMBERS)
    with pytest.raises(BadInput, match="a source or `texts`, not both, found .*reviews.csv, and texts from"):
        decide(reviews, rows=rows, overrides=overrides(), progress=False)
    with pytest.raises(BadInput, match="one source of the training texts, found .*reviews.csv and other.csv"):
        decide(reviews, overrides=overrides("data.train=other.csv"), progress=False)
    assert decide(reviews, overrides=overrides(f"data.train={reviews}"), progress=False).recipe.data.train


def test_settings_without_effect_are_named(reviews: Path) -> None:
    with notices.collecting(quiet=True):
        decide(reviews, overrides=overrides("train.eval_every=5"), progress=False)
        assert [notice["code"] for notice in notices.collected()] == ["fields_without_effect"]


def test_two_rows_of_each_class_are_enough() -> None:
    rows = labelled_rows(TEXTS[:4], [0, 1, 0, 1])
    recipe = decide(rows=rows, overrides=overrides(), progress=False).recipe
    assert recipe.data.validation == "cross-validation"


def test_a_test_file_is_counted_and_nothing_is_held_out(reviews: Path, tmp_path: Path) -> None:
    test = write(tmp_path / "test.csv", ["goal season one", "treaty border two"], ["Sports", "World"])
    decision = decide(reviews, overrides=overrides(f"data.test={test}"), progress=False)
    assert decision.facts["texts"]["test_rows"] == 2
    assert decision.recipe.data.test == str(test)


def test_validation_rows_of_a_folder_are_named_if_they_are_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    labels = [LABELS[number] for number in NUMBERS]
    write(folder / "train.csv", TEXTS[:40], labels[:40])
    write(folder / "dev.csv", TEXTS[40:], labels[40:])
    recipe = decide(folder, overrides=overrides(), progress=False).recipe
    with notices.collecting(quiet=True):
        load_corpus(recipe.data, recipe.seed)
        codes = [notice["code"] for notice in notices.collected()]
    assert "validation_unused" in codes
    own = decide(folder, overrides=overrides(f"data.validation={folder}"), progress=False)
    assert own.facts["texts"]["validation_rows"] == 20


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a one", "b two"], ["x", "x"], "at least two classes"),
        (["only one"], ["x"], "at least two classes"),
        (["", " "], ["x", "y"], "text"),
    ],
)
def test_texts_that_cannot_be_trained_on_get_the_readers_message(
    tmp_path: Path, texts: list[str], labels: list[str], message: str
) -> None:
    file = write(tmp_path / "bad.csv", texts, labels)
    with pytest.raises(BadInput, match=message) as caught:
        decide(file, overrides=overrides(), progress=False)
    assert len(caught.value.problems) == 1


def test_a_file_without_labels_is_refused_by_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "unlabelled.csv"
    file.write_text("text,stars_given\ngood,\nbad,\n", encoding="utf-8")
    with pytest.raises(BadInput, match="label"):
        decide(file, overrides=overrides(), progress=False)


def test_no_data_at_all_is_refused() -> None:
    with pytest.raises(BadInput, match="labelled texts"):
        decide(overrides=overrides(), progress=False)


def test_over_budget_is_refused_before_the_encoder_is_fetched(
    reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "token_facts", None)
    with pytest.raises(OverBudget):
        decide(reviews, overrides=["encoder.source=roberta-base", "lora.r=300"], progress=False)


@pytest.mark.parametrize("minutes", [None, 10.0])
def test_many_classes_take_the_encoder_that_has_room_for_them(
    minutes: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, token_facts = str(shared_encoder()), module.token_facts

    def facts(asked: Recipe, encoder: str, *more: Any) -> Facts:
        return replace(token_facts(asked, tiny, *more), encoder=encoder)

    monkeypatch.setattr(module, "token_facts", facts)
    monkeypatch.setattr(module, "download_bytes", lambda *_: 0)
    monkeypatch.setattr(module._Case, "_measured", lambda case, _: NominalSpeed(case.machine))
    texts = [f"{TEXTS[number % 60]} {number}" for number in range(3_000)]
    rows = labelled_rows(texts, [f"topic {number % 1_500}" for number in range(3_000)])
    decision = decide(rows=rows, minutes=minutes, progress=False)
    assert decision.recipe.encoder.source == "minilm"  # mpnet-base has room for 1,200 classes


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_limit_is_a_positive_number(reviews: Path, minutes: float) -> None:
    with pytest.raises(BadInput, match="positive number of minutes"):
        decide(reviews, overrides=overrides(), minutes=minutes, progress=False)


@pytest.mark.parametrize("slower", [1.0, 3.0])
@pytest.mark.parametrize("loading", [0.0, 40.0])
def test_what_is_planned_ends_in_time_with_the_seconds_that_have_passed(
    reviews: Path, monkeypatch: pytest.MonkeyPatch, slower: float, loading: float
) -> None:
    """The clock stands still except where libraries are loaded and the speed is measured."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(time_limit, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def measured(case: module._Case, facts: Facts) -> NominalSpeed:
        clock.now += 6
        rate = replace(MACHINE, cores=MACHINE.cores / slower)
        return NominalSpeed(rate)

    monkeypatch.setattr(module._Case, "_measured", measured)
    started_at = clock.now
    clock.now += loading
    decision = decide(reviews, overrides=overrides(), minutes=2, progress=False, started_at=started_at)
    parts, data, limit = decision.time["parts"], decision.recipe.data, decision.recipe.train.max_seconds
    assert limit is not None
    others = total(parts) - parts["training"] - parts["cross_validation"]
    guarded = others + limit * (1 + data.folds * data.repeats)
    assert clock.now - started_at + guarded == pytest.approx(0.95 * 120, abs=1), (
        "5 % are left for the unforeseen"
    )
    assert clock.now - started_at + total(parts) <= 0.95 * 120


class SlowSteps(NominalSpeed):
    """A machine on which steps take nearly all of the time."""

    def passes(self, recipe: Recipe, facts: Facts, work: Workload) -> tuple[float, float]:
        prefix, training = super().passes(recipe, facts, work)
        return prefix, training * (1e5 if work.epochs else 1)


@pytest.mark.parametrize("share", [0.8, 0.6])
def test_the_time_between_two_efforts_is_filled_with_steps(
    reviews: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(time_limit, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    monkeypatch.setattr(module._Case, "_measured", lambda case, facts: SlowSteps(MACHINE))
    full = decide(reviews, overrides=overrides(), minutes=1e6, progress=False)
    needed = total(full.time["parts"])
    allowed = share * needed
    decision = decide(reviews, overrides=overrides(), minutes=allowed / (0.95 * 60), progress=False)
    assert 0.9 * allowed < total(decision.time["parts"]) <= allowed
    assert decision.recipe.data.folds == full.recipe.data.folds
    own = decide(reviews, overrides=overrides("train.steps=3"), minutes=allowed / (0.95 * 60), progress=False)
    assert own.recipe.train.steps == 3


def test_a_time_limit_takes_less_work_and_guards_the_training(
    reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module._Case, "_measured", lambda case, facts: NominalSpeed(MACHINE))
    full = decide(reviews, overrides=overrides(), progress=False)
    ample = decide(reviews, overrides=overrides(), minutes=60, progress=False)
    assert ample.recipe.train.steps == full.recipe.train.steps
    assert ample.time["minutes"] == 60
    trainings = 1 + ample.recipe.data.folds
    assert 0 < ample.recipe.train.max_seconds < 60 * 60 / trainings
    with notices.collecting(quiet=True):
        short = decide(reviews, overrides=overrides(), minutes=0.1, progress=False, started_at=-1e6)
        (notice,) = notices.collected()
        assert notice["code"] == "time_limit_short"
        assert "more than the 0.00 s that are left of 0.1 minutes" in notice["text"]
    assert short.recipe.train.steps < full.recipe.train.steps
    assert short.recipe.data.folds == 2


def test_columns_that_only_their_values_tell_are_in_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "bewertungen.csv"
    labels = [f"{LABELS[number][:2]}" for number in NUMBERS]
    lines = [f'"{text}";{label}' for text, label in zip(TEXTS, labels, strict=True)]
    file.write_text("\n".join(["Bewertung;Note", *lines]) + "\n", encoding="utf-8")
    with notices.collecting(quiet=True):
        recipe = decide(file, overrides=overrides(), progress=False).recipe
        said = [notice["text"] for notice in notices.collected() if notice["code"] == "columns_by_content"]
    assert (recipe.data.text, recipe.data.label) == ("Bewertung", "Note")
    assert len(said) == 1 and "column 'Bewertung' has the texts and column 'Note' the labels" in said[0]
