"""Tests of near-duplicates and label noise on the page and in the card."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion.assess.score import assess_run
from submillion.report.card import render_card
from submillion.report.page import render_page
from submillion.run_format.interval import interval
from submillion.rundir import RunDir
from support.analysis import HOSTILE
from support.data_quality import made_duplicates, made_noise
from support.page_reader import ParsedPage
from support.run import made_run

NAMES = ("<script>x</script>", "a|b", "c*d", "e`f")
LONG = "a secret of the data " * 12


def a_run(path: Path) -> RunDir:
    run = made_run(path, NAMES, (20, 20, 20, 20), splits=("test",))
    assess_run(run)
    return run


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = a_run(tmp_path_factory.mktemp("quality") / "run")
    run.write_analysis("duplicates", made_duplicates(list(NAMES)))
    run.write_analysis("noise", made_noise(list(NAMES)))
    return run


def test_the_page_has_the_near_duplicates_of_the_file(full: RunDir) -> None:
    read = ParsedPage(render_page(full))
    text = read.text("data")
    for words in (
        "Without the 40 test rows that have a near-duplicate in train, the accuracy is lower.",
        "Two texts are near-duplicates if they are. 9 rows belong to 4 groups of near-duplicates; the largest group "
        "has 3 rows.",
        "There were too many candidates to compare all of them, so there may be more.",
        "train train 3 of 96 3.12% 5 2 1",
        "validation train 0 of 0 not measured",
        "all 96 91 94.79% 88.30 to 97.80%",
        "with a near-duplicate in train 40 38 95.00%",
        "without 56 49 87.50%",
        "all minus without (points) +3.21 +1.12 to +6.33",
        "Rows with a near-duplicate against the others: no difference shown; within classes: significant.",
        "For 3 rows, all near-duplicates have another label; correctly classified: 1.",
        "2 pairs of near-duplicates (3 rows) have different labels",
        f"Similarity 91% · train row 1,234, id train-1234, labelled {NAMES[0]} · beginning of the text {HOSTILE}",
        f"test row 7, id test-7, labelled {NAMES[1]} {HOSTILE}",
        "1 more",
        "a pair at the threshold becomes a candidate with probability 0.9998",
        "Limitations: Other words.",
    ):
        assert words in text, words
    assert len(read.of("script")) == 1


def test_the_page_has_the_label_noise_of_the_file(full: RunDir) -> None:
    text = ParsedPage(render_page(full)).text("data")
    for words in (
        "An estimated 4.21% (95% interval 3.12 to 5.55%) of the labels of 280 training rows are wrong; "
        "9 rows are candidates.",
        "Model: A model of words. It agrees with 89.31% (85.31 to 92.34%) of the labels in 5-fold cross-validation.",
        f"Classes with too few rows: {NAMES[-1]} (3).",
        f"{NAMES[0]} 140 9 6.43% 3.00 to 10.00%",
        f"{NAMES[1]} 140 0 0.00%",
        "the 1 most frequent of 3 pairs",
        f"Labelled {NAMES[0]} (1.2%), suggested {NAMES[1]} (96.1%) · train row 0, id train-0 · beginning "
        f"of the text {HOSTILE}",
        "2 more, of 9 in total",
        "2 of its 5 errors on 96 test rows may be label errors",
        "the estimated noise rate is 0.00% (interval not defined).",
        "Limitations: Whether a label is wrong.",
    ):
        assert words in text, words


def test_the_card_summarizes_both_and_publishes_no_text(full: RunDir) -> None:
    full.write_analysis("duplicates", made_duplicates(list(NAMES), LONG))
    full.write_analysis("noise", made_noise(list(NAMES), LONG))
    card = render_card(full)
    for words in (
        "Two texts are near-duplicates if they are. There were too many candidates to compare all of them, so there "
        "may be more.",
        "| test | train | 3 | 3.12% | 5 | 1 |",
        "| validation | train | 0 | not measured | 5 | 1 |",
        "\nWithout the 40 test rows that have a near-duplicate in train, the accuracy is lower.\n",
        "an estimated 4.21% of the labels of 280 training rows are wrong (95% interval 3.12 to 5.55%); "
        "9 rows are candidates. Of the 5 errors on test, 2 may be label errors.\n",
        "agrees with 89.31% of the labels",
    ):
        assert words in card, words
    assert LONG.split(" of ")[0] not in card
    assert "secret" not in card


def test_missing_parts_name_their_command(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    text, card = ParsedPage(render_page(run)).text("provenance"), render_card(run)
    for part in ("duplicates", "noise"):
        assert f"submillion report RUN --with {part}" in text
        assert f"not measured (`submillion report RUN --with {part}`)" in card


def test_parts_without_effect_interval_or_split_have_their_page(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    twins, labels = made_duplicates(list(NAMES)), made_noise(list(NAMES))
    twins |= {"effect": None, "conflicts": {"pairs": 0, "rows": 0, "examples": []}, "examples": []}
    labels |= {"split": None}
    labels["train"] |= {"noise_rate": interval(0.0), "pairs": [], "suspects": []}
    run.write_analysis("duplicates", twins)
    run.write_analysis("noise", labels)
    text, card = ParsedPage(render_page(run)).text("data"), render_card(run)
    assert "An estimated 0.00% (interval not defined) of the labels" in text
    assert "Errors with suspicious labels" not in text and "different labels, " not in text
    assert "(95% interval not defined)" in card and "may be label errors" not in card
    twins["effect"] = made_duplicates(list(NAMES))["effect"] | {"difference": None}
    twins["effect"]["with_duplicate"] |= {"rows": 0, "accuracy": None, "too_small": True}
    run.write_analysis("duplicates", twins)
    assert "all minus without" not in ParsedPage(render_page(run)).text("data")
