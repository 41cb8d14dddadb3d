"""Tests of the baselines on the page and in the card."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion.assess.score import assess_run
from submillion.report.card import render_card
from submillion.report.page import render_page
from submillion.rundir import RunDir
from support.baselines import made_baseline, made_baseline_model, made_part
from support.page_reader import ParsedPage
from support.run import made_run

DASH = "\N{EN DASH}"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = made_run(tmp_path / "run", sizes=(20, 20, 20, 20))
    assess_run(made)
    return made


def test_the_table_has_the_numbers_of_the_file(run: RunDir) -> None:
    run.write_analysis("baseline", made_baseline())
    run.write_analysis("probe", made_part({"probe": made_baseline_model("linear probe")}, "probe"))
    read = ParsedPage(render_page(run))
    text = read.text("baselines")
    for words in (
        "The run and its baselines on the same 80 test rows, with 95% intervals",
        f"this run 94.30% 88.00 to 98.00% 0.9381 0.900 to 0.960 {DASH} {DASH} 1 h 2 min 3 s not measured 888,580",
        "linear model 94.12% 80.00 to 98.00% 0.9278 not defined +0.30 \N{MINUS SIGN}0.20 to +0.80 0.31 12 s 0.43 s "
        "511,586",
        "majority class 94.12%",
        "linear probe 94.12%",
        "linear model 17 13 +1.23 1",
        "Made up & <b>bold</b>. Trained on 4,321 rows (train). C = 0.3, selected by accuracy on validation "
        "(0.1: 91.11%, not converged; 0.3: 92.22%).",
        "The run does not beat the linear model: +0.30 points of accuracy, 95% interval \N{MINUS SIGN}0.20 to +0.80.",
        "The run does not beat the linear probe: +0.30 points",
    ):
        assert words in text, words
    assert "Not measured" not in text
    card = render_card(run)
    row = "| linear model | 94.12% | 80.00 to 98.00% | 0.9278 | +0.30 (\N{MINUS SIGN}0.20 to +0.80) | 0.31 | 12 s"
    assert row in card
    assert (
        f"| **this run** | 94.30% | 88.00 to 98.00% | 0.9381 | {DASH} | {DASH} | 1 h 2 min 3 s | 888,580 |"
        in card
    )
    assert "The run does not beat the linear probe: +0.30 points" in card
    assert "Made up" not in card


@pytest.mark.parametrize(
    ("difference", "p", "more", "warns", "sentence"),
    [
        (0.003, 0.31, False, True, "The run does not beat the linear model: +0.30 points"),
        (-0.02, 0.001, False, True, "The run is worse than the linear model: \N{MINUS SIGN}2.00 points"),
        (0.02, 0.001, False, False, "The run beats the linear model: +2.00 points"),
        # It beats the one of as many rows, but not the one that a user would have.
        (
            0.02,
            0.001,
            True,
            True,
            "The run does not beat the linear model with more rows: \N{MINUS SIGN}0.27 points",
        ),
    ],
)
def test_the_summary_states_whether_the_run_beats_the_linear_model(
    run: RunDir, difference: float, p: float, more: bool, warns: bool, sentence: str
) -> None:
    run.write_analysis("baseline", made_baseline(difference, p, more))
    page = render_page(run)
    assert sentence in ParsedPage(page).text("summary")
    first = page[page.index('<section id="summary"') : page.index('<section id="classes"')]
    assert ('class="verdict warn"' in first) == warns
    assert ('class="verdict"' in first) == (not warns)
    # Before the parameters and what it cost.
    assert first.index('class="verdict') < first.index("Trainable parameters")


def test_a_missing_baseline_names_its_command(run: RunDir) -> None:
    read = ParsedPage(render_page(run))
    assert (
        "Comparison with a linear model: not measured. Run submillion report RUN --with baseline to"
        in read.text("summary")
    )
    for part in ("baseline", "probe"):
        assert f"Not measured. Run submillion report RUN --with {part} to measure it." in read.text(
            "baselines"
        )
        assert f"not measured (`submillion report RUN --with {part}`)" in render_card(run)
    run.write_analysis("probe", made_part({"probe": made_baseline_model("linear probe")}, "probe"))
    text = ParsedPage(render_page(run)).text("baselines")
    assert "linear probe 94.12%" in text
    assert "--with baseline" in text and "--with probe" not in text


def test_an_absent_linear_model_is_explained_and_not_compared(run: RunDir) -> None:
    why = "There is no linear model: no word is in two training texts."
    found = {"majority": made_baseline_model("majority class", 0.69, 1e-9, strength=None)}
    run.write_analysis("baseline", made_part(found, "linear", absent=why))
    read = ParsedPage(render_page(run))
    assert why in read.text("summary") and why in read.text("baselines")
    assert "beat" not in read.text("summary") and "beat" not in read.text("baselines")
    assert why in render_card(run)


def test_scores_on_validation_are_called_optimistic(run: RunDir) -> None:
    fixed = {"C": 1.0, "chosen_on": None, "ladder": [{"C": 1.0, "accuracy": None, "converged": False}]}
    part = made_part({"linear": made_baseline_model("linear model", strength=fixed)}, "linear")
    run.write_analysis("baseline", part | {"split": "validation", "optimistic": True})
    read = ParsedPage(render_page(run))
    assert "biased in favour of the run" in read.text("summary")
    assert "makes the score of the run optimistic; the baselines did not use it" in read.text("baselines")
    assert "C = 1.0, fixed in advance, not converged." in read.text("baselines")
    assert "all classifiers are scored on the validation split" in render_card(run)


def test_a_hostile_title_is_escaped(run: RunDir) -> None:
    hostile = made_baseline_model("<script>x</script> | `title`")
    run.write_analysis("probe", made_part({"probe": hostile}, "probe"))
    assert len(ParsedPage(render_page(run)).of("script")) == 1
    assert "\\<script>x\\</script> \\| \\`title\\`" in render_card(run)
