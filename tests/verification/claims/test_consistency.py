"""Tests of `verify_claims`: rounded numbers, arithmetic, agreement between texts and with a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from submillion.assess.score import assess_run
from submillion.cli import app
from submillion.errors import BadInput
from submillion.rundir import RunDir
from submillion.verification.claims.claims_file import published_names, read_claims
from submillion.verification.claims.consistency import verify_claims
from submillion.verification.claims.rounding import PublishedNumber, Range
from submillion.verification.verdict import Verdict
from support.run import made_run

CLASSES = {"a": 10, "b": 30}
GOOD: dict[str, Any] = {
    "recipe": {
        "encoder": {"source": "minilm"},
        "lora": {"r": 4, "targets": ["query"], "layers": "top-2"},
        "head": {"kind": "linear"},
        "train": {"batch_size": 8},
        "budget": 10_000,
    },
    # 2 layers x r 4 x (384 + 384) = 6,144; output 384 x 2 + 2 = 770
    "budget": {"trainable": "6,914", "parts": {"lora.query": "6,144", "head.output": "770"}},
    "training": {"steps": "25", "epochs_run": "2", "wall_seconds": "50", "samples_per_second": "4.0"},
    "data": {"splits": {"train": {"rows": "100"}}},
    "metrics": {
        "test": {
            "rows": "40",
            "accuracy": "87.5 %",
            # recall: 8 of 10 and 27 of 30; precision: 8 of 11 and 27 of 29
            "macro_f1": "0.8387",
            "per_class": {
                "a": {"precision": "72.7 %", "recall": "80.0 %", "f1": "76.2 %", "support": "10"},
                "b": {"precision": "93.1 %", "recall": "90.0 %", "f1": "91.5 %", "support": "30"},
            },
            "confidence": {
                "mean": "0.9",
                "median": "0.93",
                "min": "0.51",
                "max": "0.99",
                "above": {"0.9": "60 %"},
            },
        }
    },
}


def claims_file(folder: Path, *sources: dict[str, Any]) -> Path:
    file = folder / "claims.yaml"
    named = {f"text {number}": source for number, source in enumerate(sources, start=1)}
    file.write_text(yaml.safe_dump({"labels": list(CLASSES), "sources": named}), encoding="utf-8")
    return file


def scored_run(folder: Path) -> RunDir:
    run = made_run(folder / "run")
    assess_run(run)
    return run


def changed(place: str, value: Any) -> dict[str, Any]:
    """Return the good claims with another value in one place (keys between slashes)."""
    copy = yaml.safe_load(yaml.safe_dump(GOOD))
    *path, last = place.split("/")
    part = copy
    for key in path:
        part = part[key]
    part[last] = value
    return dict(copy)


def failing(verdict: Verdict) -> list[str]:
    return [check.where for check in verdict.failing]


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("94.09 %", 0.9409, 1e-4),
        ("94.09%", 0.9409, 1e-4),
        ("0.9410", 0.941, 1e-4),
        ("888,580", 888_580, 1),
        ("16_875", 16_875, 1),
        ("7600", 7600, 1),
        ("1 183 492", 1_183_492, 1),
    ],
)
def test_number_is_parsed_with_the_unit_of_its_last_digit(text: str, value: float, unit: float) -> None:
    number = PublishedNumber.parse(text)
    assert number is not None
    assert number.value == pytest.approx(value)
    assert number.unit == pytest.approx(unit)


@pytest.mark.parametrize("text", ["", "about 94", "94.", "1,23", "9e3", "94.09 % %", "nan"])
def test_text_that_is_not_a_number_is_not_parsed(text: str) -> None:
    assert PublishedNumber.parse(text) is None


@given(st.floats(0, 1, allow_subnormal=False), st.integers(0, 6))
def test_exact_value_is_in_the_range_of_its_rounded_form(value: float, places: int) -> None:
    for text, exact in ((f"{value:.{places}f}", value), (f"{100 * value:.{places}f} %", value)):
        number = PublishedNumber.parse(text)
        assert number is not None
        assert number.range.overlaps(Range(exact, exact))


def test_consistent_claims_hold(tmp_path: Path) -> None:
    verdict = verify_claims(claims_file(tmp_path, GOOD))
    assert failing(verdict) == []
    assert {check.name for check in verdict.checks} == {
        "accuracy",
        "budget",
        "confidence",
        "macro_f1",
        "per_class",
        "rows",
        "training",
    }


@pytest.mark.parametrize(
    ("place", "value", "where"),
    [
        ("budget/trainable", "6,915", "budget.trainable"),
        ("budget/parts", {"lora.value": "6,144"}, "budget.lora.value"),
        ("recipe/lora", {"r": 8, "targets": ["query"], "layers": "top-2"}, "budget"),
        ("recipe/budget", 6_913, "budget"),
        ("training/steps", "23", "training.steps"),
        ("training/samples_per_second", "4.2", "training.samples_per_second"),
        ("metrics/test/accuracy", "87.4 %", "metrics.test.accuracy"),
        ("metrics/test/rows", "41", "metrics.test.rows"),
        ("metrics/test/macro_f1", "0.8393", "metrics.test.macro_f1"),
        ("metrics/test/per_class/a/f1", "75.9 %", "metrics.test.per_class.a.f1"),
        ("metrics/test/per_class/b/recall", "93.3 %", "metrics.test.accuracy"),
        ("metrics/test/confidence/min", "0.42", "metrics.test.confidence.min"),
        ("metrics/test/confidence/max", "1.02", "metrics.test.confidence.max"),
        ("metrics/test/confidence/median", "0.999", "metrics.test.confidence.median"),
        # 60 % above 0.9 and none below 0.51 allow means from 0.74 to 0.96
        ("metrics/test/confidence/mean", "0.72", "metrics.test.confidence.mean"),
        ("metrics/test/confidence/mean", "0.97", "metrics.test.confidence.mean"),
        (
            "metrics/test/confidence/above",
            {"0.9": "60 %", "0.95": "65 %"},
            "metrics.test.confidence.above.0.95",
        ),
    ],
)
def test_each_impossible_figure_is_detected(tmp_path: Path, place: str, value: Any, where: str) -> None:
    verdict = verify_claims(claims_file(tmp_path, changed(place, value)))
    assert f"text 1: {where}" in failing(verdict)


def test_contradictions_between_two_texts_are_detected(tmp_path: Path) -> None:
    other = {
        "recipe": {"lora": {"r": 4, "targets": ["value"]}, "head": {"kind": "linear"}},
        "metrics": {"test": {"accuracy": "0.875", "macro_f1": "0.84"}, "private": {"accuracy": "0.5"}},
    }
    verdict = verify_claims(claims_file(tmp_path, GOOD, other))
    assert failing(verdict) == ["text 1 and text 2: lora.targets"]
    agreed = [check.where for check in verdict.checks if check.name == "agreement" and check.holds]
    assert "text 1 and text 2: metrics.test.accuracy" in agreed
    assert "text 1 and text 2: metrics.test.macro_f1" in agreed  # 0.84 is 0.8387, rounded


def test_published_claims_contradict_themselves_and_each_other() -> None:
    verdict = verify_claims("reference-readme")
    names = failing(verdict)
    # query and value at r 16 train 1,183,492 parameters, whatever the text says
    assert "README: budget.trainable" in names
    assert "1,183,492" in next(
        check.found for check in verdict.failing if check.where == "README: budget.trainable"
    )
    assert "README: budget" in names
    # its four class scores have another mean than its macro F1
    assert "README: metrics.test.macro_f1" in names
    for label in ("World", "Sports", "Business", "Sci/Tech"):
        assert f"README and notebook: metrics.test.per_class.{label}.f1" in names
    assert "README and notebook: metrics.unlabelled.confidence.above.0.9" in names
    assert "README and notebook: lora.targets" in names
    held = [check.where for check in verdict.checks if check.holds]
    assert "notebook: budget.trainable" in held
    assert "notebook: metrics.test.macro_f1" in held
    assert "notebook: training.steps" in held


def test_claims_are_compared_with_the_figures_of_a_run(tmp_path: Path) -> None:
    run = scored_run(tmp_path)
    score = run.read_json(run.metrics)["test"]
    right = {
        "metrics": {"test": {"accuracy": f"{score['accuracy']:.2%}", "macro_f1": f"{score['macro_f1']:.3f}"}}
    }
    verdict = verify_claims(claims_file(tmp_path, right), run.path)
    assert failing(verdict) == []
    wrong = {
        "metrics": {"test": {"accuracy": f"{score['accuracy'] + 0.01:.2%}"}, "other": {"accuracy": "50 %"}}
    }
    verdict = verify_claims(claims_file(tmp_path, wrong), run.path)
    assert failing(verdict) == ["text 1: metrics.test.accuracy, against the run"]
    assert "95% interval" in verdict.failing[0].found
    assert [check.where for check in verdict.checks if check.holds is None] == [
        "text 1: metrics.other.accuracy, against the run"
    ]


def test_settings_are_compared_with_the_recipe_of_a_run(tmp_path: Path) -> None:
    run = scored_run(tmp_path)
    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
    claims = {"recipe": {"lora": {"r": recipe["lora"]["r"] + 1, "dropout": recipe["lora"]["dropout"]}}}
    assert failing(verify_claims(claims_file(tmp_path, claims), run.path)) == [
        "text 1: lora.r, against the run"
    ]


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    source = {
        "recipe": {"lora": {"rank": 8}},
        "metrics": {"test": {"accurracy": "94 %", "macro_f1": "good"}},
    }
    with pytest.raises(BadInput) as error:
        read_claims(claims_file(tmp_path, source))
    message = str(error.value)
    for part in ("accurracy", "'good'", "rank"):
        assert part in message


@pytest.mark.parametrize("text", ["", "- a\n", "sources: []\n", "sources: {README: 3}\n", "a: [\n"])
def test_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "claims.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=r"claims\.yaml"):
        read_claims(file)


def test_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(BadInput, match="Did you mean 'reference-readme'"):
        read_claims("reference-redme")
    assert published_names() == ["reference-readme"]


def test_command_reports_failing_claims_with_exit_code_1(tmp_path: Path) -> None:
    runner = CliRunner()
    ended = runner.invoke(app, ["verify", "--claims", "reference-readme"])
    assert ended.exit_code == 1
    assert (
        "DOES NOT HOLD    budget: README: budget.trainable: claimed 888,580, found 1,183,492" in ended.output
    )
    assert runner.invoke(app, ["verify", "--claims", str(claims_file(tmp_path, GOOD))]).exit_code == 0


def test_run_without_metrics_is_refused(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    with pytest.raises(BadInput, match="metrics of a finished run"):
        verify_claims(claims_file(tmp_path, GOOD), run.path)
