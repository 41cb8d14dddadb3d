"""Tests of the summary of a run: the notebook card and its text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from submillion.assess.score import assess_run
from submillion.report.run_summary import NO_BASELINE, summary_html, summary_text
from submillion.rundir import RunDir
from support.analysis import HOSTILE
from support.baselines import made_baseline, made_baselines
from support.page_reader import ParsedPage
from support.run import made_run


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = made_run(tmp_path / "run")
    assess_run(run)
    return run


def test_the_text_contains_scores_and_budget(run: RunDir) -> None:
    scores: dict[str, Any] = dict(run.read_metrics()["test"])
    limits = scores["accuracy_interval"]
    assert summary_text(run).split("\n") == [
        "made",
        f"  test accuracy {scores['accuracy']:.2%} (95% interval {100 * limits['low']:.2f} to {limits['high']:.2%}), "
        f"macro F1 {scores['macro_f1']:.4f}",
        f"  {NO_BASELINE}",
        "  888,580 of 1,000,000 trainable parameters (89% of the budget)",
    ]


def test_the_card_contains_the_facts_of_the_text(run: RunDir) -> None:
    scores: dict[str, Any] = dict(run.read_metrics()["test"])
    text = ParsedPage(summary_html(run)).text()
    for words in (
        "made",
        "Accuracy on test",
        f"{scores['accuracy']:.2%}",
        "95% interval",
        f"{scores['macro_f1']:.4f}",
        NO_BASELINE,
        "888,580 of 1,000,000 trainable parameters",
    ):
        assert words in text, words


@pytest.mark.parametrize(("difference", "colour"), [(0.03, "#1F6FB5"), (0.003, "#C8601A")])
def test_the_verdict_is_the_one_of_the_baseline(run: RunDir, difference: float, colour: str) -> None:
    baseline = made_baselines({"probe": made_baseline("linear probe", difference)})
    run.write_analysis("baseline", baseline)
    sentence = baseline["verdict"]["sentence"]
    assert sentence in summary_text(run)
    html = summary_html(run)
    assert sentence in ParsedPage(html).text()
    assert f"border-left:4px solid {colour}" in html


def test_an_absent_baseline_gives_its_reason(run: RunDir) -> None:
    run.write_analysis("baseline", made_baselines({}, absent={"probe": "The run has too few training rows."}))
    assert "The run has too few training rows." in summary_text(run)


def test_without_a_test_split_validation_is_shown(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", splits=["validation"])
    assess_run(run)
    assert "validation accuracy" in summary_text(run)
    assert "Accuracy on validation" in summary_html(run)


def test_a_run_that_is_not_scored_says_so(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", splits=[], status="running")
    assert summary_text(run).startswith("made (running)\n  not scored yet\n")
    assert "Not scored yet." in summary_html(run)


def test_names_are_escaped(tmp_path: Path) -> None:
    names = ["World", HOSTILE]
    run = made_run(
        tmp_path / "run",
        names,
        (40, 40),
        name=HOSTILE,
        budget={
            "trainable": 5,
            "total": 10,
            "budget": 10,
            "fits": True,
            "by_layer": [],
            "parts": {'"><img src=x onerror=alert(1)>': 5},
        },
    )
    assess_run(run)
    part = made_baselines()
    part["verdict"]["sentence"] = HOSTILE
    run.write_analysis("baseline", part)
    page = ParsedPage(summary_html(run))
    assert {tag for tag, _ in page.elements} == {"div"}
    assert {name for _, attributes in page.elements for name in attributes} == {
        "style",
        "role",
        "aria-label",
        "title",
    }
    assert page.text().count(HOSTILE) == 2  # the name and the verdict


def test_the_card_loads_nothing_external(run: RunDir) -> None:
    assert re.search(r"https?:|url\(|@import|<script|<link|<img", summary_html(run)) is None


def test_the_bar_ends_at_the_share_of_the_budget(run: RunDir) -> None:
    widths = [float(width) for width in re.findall(r"width:([0-9.]+)%", summary_html(run))]
    assert sum(widths) == pytest.approx(88.858)
