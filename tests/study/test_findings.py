"""Tests of the findings of a study: effects, sentences, Pareto fronts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_rel

from submillion.study.findings import compare_on_test, compute_findings, pareto_front
from support.intervals import limits
from support.study import made_design, made_runs

DROPOUT = {"lora.dropout": [0.0, 0.1]}


def effect_of(
    folder: Path, base: list[float | None], other: list[float | None], **values: Any
) -> dict[str, Any]:
    design = made_design(folder, DROPOUT, **values)
    found = compute_findings(design, made_runs(folder, design, {"base": base, "lora.dropout=0.1": other}))
    (effect,) = found["effects"]
    return dict(effect)


def test_an_effect_is_students_paired_test_over_the_seeds(tmp_path: Path) -> None:
    base, other = [0.90, 0.91, 0.93], [0.92, 0.94, 0.94]
    effect = effect_of(tmp_path, base, other)
    expected = ttest_rel(other, base)
    assert effect["difference"] == pytest.approx(0.02)
    assert effect["p"] == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert limits(effect["difference_interval"]) == pytest.approx([interval.low, interval.high])
    assert (
        effect["sentence"]
        == "lora.dropout: 0.1 against 0.0: no difference shown (\N{MINUS SIGN}0.48 to +4.48 points, 3 seeds)."
    )


def test_a_shown_difference_states_its_direction(tmp_path: Path) -> None:
    effect = effect_of(tmp_path, [0.90, 0.91, 0.92, 0.93], [0.88, 0.8901, 0.9002, 0.9099], seeds=[1, 2, 3, 4])
    assert effect["shown"] and effect["p_holm"] < 0.001
    assert effect["sentence"].startswith(
        "lora.dropout: 0.1 against 0.0: worse by 2.00 points (\N{MINUS SIGN}2.0"
    )
    assert effect["seeds_needed"] == 2


def test_a_difference_that_is_only_significant_before_correction_says_so(tmp_path: Path) -> None:
    design = made_design(tmp_path, {"lora.dropout": [0.0, 0.1, 0.2]})
    scores: dict[str, list[float | None]] = {
        "base": [0.90, 0.91, 0.92],
        "lora.dropout=0.1": [0.93, 0.93, 0.96],
        "lora.dropout=0.2": [0.89, 0.93, 0.92],
    }
    first, second = compute_findings(design, made_runs(tmp_path, design, scores))["effects"]
    assert first["p"] < 0.05 < first["p_holm"] and not first["shown"]
    assert (
        "no difference shown after correction for 2 comparisons (+0.52 to +5.48 points" in first["sentence"]
    )
    assert "no difference shown (\N{MINUS SIGN}" in second["sentence"]


@pytest.mark.parametrize(
    ("base", "other", "seeds", "message"),
    [
        ([0.9], [0.92], [1], "+2.00 points with one seed, which does not show how other seeds behave."),
        ([0.5, 0.75], [0.5, 0.75], [1, 2], "no difference for each of 2 seeds."),
        ([0.5, 0.75], [0.625, 0.875], [1, 2], "+12.50 points for each of 2 seeds."),
        ([0.9, 0.9], [None, None], [1, 2], "not trained yet."),
        (
            [0.9, 0.9],
            [0.91, None],
            [1, 2],
            "+1.00 points with one seed, which does not show how other seeds behave.",
        ),
    ],
)
def test_differences_without_a_test_are_not_judged(
    tmp_path: Path, base: list[float | None], other: list[float | None], seeds: list[int], message: str
) -> None:
    effect = effect_of(tmp_path, base, other, seeds=seeds)
    assert effect["sentence"] == f"lora.dropout: 0.1 against 0.0: {message}"
    assert effect["p"] is None and effect["difference_interval"]["low"] is None and not effect["shown"]


def test_in_a_grid_a_seeds_differences_are_averaged_over_the_other_axes(tmp_path: Path) -> None:
    axes = {"lora.dropout": [0.0, 0.1], "train.learning_rate": [1e-3, 2e-3]}
    design = made_design(tmp_path, axes, design="grid", seeds=[1, 2], set={"train.learning_rate": 1e-3})
    scores = {
        "base": [0.80, 0.82],
        "lora.dropout=0.1": [0.84, 0.84],
        "train.learning_rate=0.002": [0.80, 0.80],
        "lora.dropout=0.1, train.learning_rate=0.002": [0.82, 0.86],
    }
    found = compute_findings(
        design, made_runs(tmp_path, design, {name: list(values) for name, values in scores.items()})
    )
    dropout = next(effect for effect in found["effects"] if effect["axis"] == "lora.dropout")
    # seed 1: (0.04 + 0.02) / 2 = 0.03; seed 2: (0.02 + 0.06) / 2 = 0.04
    assert dropout["difference"] == pytest.approx(0.035)
    assert dropout["seeds"] == 2
    assert len(found["pairs"]) == 6


def test_p_is_corrected_for_the_number_of_effects(tmp_path: Path) -> None:
    design = made_design(tmp_path, {"lora.dropout": [0.0, 0.1, 0.2]})
    scores = {
        "base": [0.90, 0.91, 0.93],
        "lora.dropout=0.1": [0.92, 0.94, 0.94],
        "lora.dropout=0.2": [0.90, 0.93, 0.92],
    }
    first, second = compute_findings(
        design, made_runs(tmp_path, design, {k: list(v) for k, v in scores.items()})
    )["effects"]
    assert first["p_holm"] == pytest.approx(2 * first["p"])
    assert second["p_holm"] == pytest.approx(max(second["p"], 2 * first["p"]))


def test_cells_are_described_by_their_seeds_and_costs(tmp_path: Path) -> None:
    design = made_design(tmp_path, DROPOUT)
    found = compute_findings(
        design,
        made_runs(tmp_path, design, {"base": [0.9, 0.92, 0.94], "lora.dropout=0.1": [0.95, None, 0.97]}),
    )
    base, other = found["cells"]
    assert base["accuracy"]["mean"] == pytest.approx(0.92) and base["accuracy"]["deviation"] == pytest.approx(
        0.02
    )
    assert base["tokens_seen"] == 1002 and base["peak_memory_mb"] == 903
    assert other["seeds"] == [1, 3]
    assert found["winner"] == "base"  # the other is better, but one seed of it is missing


def test_macro_f1_can_be_the_objective(tmp_path: Path) -> None:
    design = made_design(tmp_path, DROPOUT, objective="macro_f1", seeds=[1])
    found = compute_findings(design, made_runs(tmp_path, design, {"base": [0.9], "lora.dropout=0.1": [0.96]}))
    assert found["effects"][0]["difference"] == pytest.approx(0.03)
    assert found["winner"] == "lora.dropout=0.1"


def test_the_pareto_front_has_the_cells_that_no_cheaper_one_surpasses() -> None:
    cells = [
        {"name": name, "cost": cost, "accuracy": {"mean": mean}}
        for name, cost, mean in (
            ("a", 3, 0.9),
            ("b", 1, 0.8),
            ("c", 2, 0.8),
            ("d", 2, 0.85),
            ("e", 4, 0.9),
            ("f", 3, 0.7),
        )
    ]
    assert pareto_front(cells, "accuracy", "cost") == ["b", "d", "a"]


def test_winner_and_base_are_compared_on_test_within_each_seed(tmp_path: Path) -> None:
    design = made_design(tmp_path, DROPOUT, seeds=[1, 2])
    other = "lora.dropout=0.1"
    scores = {("base", 1): 0.5, (other, 1): 0.625, ("base", 2): 0.75, (other, 2): 0.875}
    found = compare_on_test(design, scores, other)
    assert found["difference"] == pytest.approx(0.125)
    assert found["sentence"] == f"{other} against base: +12.50 points for each of 2 seeds."
