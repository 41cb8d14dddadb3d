"""Tests of auto/durations.py: the parts of a run that its seconds consist of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from submillion.auto.durations import NominalSpeed, durations
from submillion.estimate.workload import fold_trainings
from submillion.recipe import Recipe
from support.auto import MACHINE, facts

CROSSED = ("data.validation=cross-validation", "data.folds=5", "data.repeats=2", "train.patience=0")


def recipe(*overrides: str) -> Recipe:
    return Recipe.load("r8", ["lora.layers=top-3", *overrides])


def test_without_a_cross_validation_there_is_one_training() -> None:
    assert fold_trainings(recipe()) == 0
    assert durations(recipe(), facts(), NominalSpeed(MACHINE))["cross_validation"] == 0


@pytest.mark.parametrize(("override", "added"), [("train.steps=20", 10), ("train.epochs=4", 8)])
def test_each_fold_has_all_steps_or_its_share_of_the_epochs(override: str, added: int) -> None:
    crossed = recipe(*CROSSED, override)
    assert fold_trainings(crossed) == added
    parts = durations(crossed, facts(), NominalSpeed(MACHINE))
    assert parts["cross_validation"] == pytest.approx(added * parts["training"], abs=0.1 * added)


def test_a_batch_larger_than_the_data_costs_no_more_than_the_data() -> None:
    few = facts(rows=16)
    steps = durations(recipe(*CROSSED, "train.steps=20"), few, NominalSpeed(MACHINE))
    epochs = durations(recipe(*CROSSED, "train.epochs=20"), few, NominalSpeed(MACHINE))
    assert steps["training"] == epochs["training"]


def test_a_machine_that_is_slower_than_its_class_takes_longer_for_the_other_parts_too() -> None:
    many = facts(rows=3_000)
    usual = durations(recipe(), many, NominalSpeed(many.machine))
    busy = durations(recipe(), many, NominalSpeed(replace(many.machine, cores=1)))
    fast = durations(recipe(), many, NominalSpeed(replace(many.machine, cores=4)))
    for part in ("start", "prefix", "training", "report", "scoring"):
        assert busy[part] == pytest.approx(2 * usual[part], abs=0.2)
    assert fast["start"] == usual["start"]
    assert fast["training"] < usual["training"]


def test_every_training_starts_from_a_probe_of_its_own() -> None:
    probed = ("head.kind=linear", "head.start=probe")
    once = durations(recipe(*probed), facts(rows=3_000), NominalSpeed(MACHINE))["probe"]
    assert once > 0
    assert durations(recipe(), facts(rows=3_000), NominalSpeed(MACHINE))["probe"] == 0
    folds = durations(recipe(*probed, *CROSSED), facts(rows=3_000), NominalSpeed(MACHINE))["probe"]
    # A cross-validation holds no tenth of the rows out.
    assert folds == pytest.approx(11 * once / 0.9, rel=0.05)


def test_the_report_reads_all_texts_once_more_for_a_probe() -> None:
    few, many = (
        durations(recipe(), facts(rows=rows, words=0), NominalSpeed(MACHINE)) for rows in (20, 30_000)
    )
    assert many["report"] - few["report"] > 1
