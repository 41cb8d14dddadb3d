"""Tests of the baselines on the page and in the card."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion.assess.score import assess_run
from submillion.report.card import render_card
from submillion.report.page import render_page
from submillion.rundir import RunDir
from support.baselines import made_baseline, made_baselines
from support.page_reader import ParsedPage
from support.run import made_run

DASH = "\N{EN DASH}"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = made_run(tmp_path / "run", sizes=(20, 20, 20, 20))
    assess_run(made)
    return made


def test_the_table_has_the_numbers_of_the_file(run: RunDir) -> None:
    run.write_analysis("baseline", made_baselines())
    text = ParsedPage(render_page(run)).text("baselines")
    for words in (
        "The run and its baselines on the same 80 test rows, with 95% intervals",
        f"this run 94.30% 88.00 to 98.00% 0.9381 0.900 to 0.960 {DASH} {DASH} 1 h 2 min 3 s not measured",
        "linear probe 94.12% 80.00 to 98.00% 0.9278 not defined +0.30 \N{MINUS SIGN}0.20 to +0.80 "
        "no clear lead 12 s 0.43 s 511,586",
        "linear model of words 94.12%",
        "most frequent class 94.12%",
        "linear probe 17 13 0.31 +1.23",
        "Made up & <b>bold</b>. Fitted on 4,321 training rows. linear SVM, strength 0.3, selected by accuracy on the "
        "validation rows among fits to 4,000 rows (0.1: 91.11%, not converged; 0.3: 92.22%).",
    ):
        assert words in text, words
    assert "Not measured" not in text
    card = render_card(run)
    assert (
        "| linear probe | 94.12% | 80.00 to 98.00% | 0.9278 | +0.30 (\N{MINUS SIGN}0.20 to +0.80) | "
        "no clear lead | 12 s | 511,586 |"
    ) in card
    assert "The run has no clear lead over the linear probe: +0.30 points" in card
    assert "Made up" not in card


@pytest.mark.parametrize(
    ("difference", "warns", "sentence"),
    [
        (0.003, True, "The run has no clear lead over always answering \u201cham\u201d: +0.30 points"),
        (
            -0.02,
            True,
            "The run trails: always answering \u201cham\u201d is better (96.30% against 94.30%)",
        ),
        (
            0.02,
            False,
            "The run leads the best baseline, always answering \u201cham\u201d: +2.00 points",
        ),
        (-0.002, True, "always answering \u201cham\u201d is at least as good (94.50% against 94.30%)"),
    ],
)
def test_the_first_screen_states_the_verdict(
    run: RunDir, difference: float, warns: bool, sentence: str
) -> None:
    run.write_analysis(
        "baseline", made_baselines({"majority": made_baseline("most frequent class", difference)})
    )
    page = render_page(run)
    assert sentence in ParsedPage(page).text("summary")
    first = page[page.index('<section id="summary"') : page.index('<section id="classes"')]
    assert ('class="verdict warn"' in first) == warns
    assert ('class="verdict"' in first) == (not warns)
    # Before the parameters and what it cost.
    assert first.index('class="verdict') < first.index("Trainable parameters")


def test_missing_baselines_name_their_command(run: RunDir) -> None:
    read = ParsedPage(render_page(run))
    command = "submillion report RUN --with baseline"
    assert f"Comparison with simpler classifiers: not measured. Run {command} to" in read.text("summary")
    assert "baselines" not in read.words and command in read.text("provenance")
    assert f"not measured (`{command}`)" in render_card(run)


def test_a_baseline_that_could_not_be_fitted_is_explained(run: RunDir) -> None:
    why = "Linear model of words: no word occurs in two training texts."
    found = {"majority": made_baseline("most frequent class", 0.69, strength=None)}
    run.write_analysis("baseline", made_baselines(found, absent={"words": why}))
    assert why in ParsedPage(render_page(run)).text("baselines")
    assert why in render_card(run)
    run.write_analysis("baseline", made_baselines({}, absent={"words": why}))
    assert why in ParsedPage(render_page(run)).text("summary")


def test_scores_on_validation_are_called_optimistic(run: RunDir) -> None:
    fixed = {"model": "linear SVM", "value": 1.0, "chosen_on": None, "rows": 0, "ladder": []}
    words = made_baseline("linear model of words", strength=fixed)
    run.write_analysis("baseline", made_baselines({"words": words}, split="validation", optimistic=True))
    read = ParsedPage(render_page(run))
    assert "The validation rows also chose the run's epoch, which favours the run." in read.text("summary")
    assert "all classifiers are scored on the validation rows" in read.text("baselines")
    assert "strength 1.0, fixed in advance." in read.text("baselines")
    assert "all classifiers are scored on the validation rows" in render_card(run)


def test_a_hostile_title_is_escaped(run: RunDir) -> None:
    hostile = made_baseline("<script>x</script> | `title`")
    run.write_analysis("baseline", made_baselines({"probe": hostile}))
    assert len(ParsedPage(render_page(run)).of("script")) == 1
    assert "\\<script>x\\</script> \\| \\`title\\`" in render_card(run)
