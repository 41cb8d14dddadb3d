"""Card and page of a run with a threshold per class: its effect on rows that did not choose."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion.assess import registry
from submillion.assess.run_context import RunContext
from submillion.assess.score import assess_run
from submillion.model.class_thresholds import ThresholdRequest
from submillion.report.card import render_card
from submillion.report.page import render_page
from support.page_reader import ParsedPage
from support.run import made_run


@pytest.mark.parametrize("words", ["macro_f1", "precision=0.99"])
def test_card_and_page_show_the_effect_on_rows_that_did_not_choose(tmp_path: Path, words: str) -> None:
    run = made_run(tmp_path / "run", sizes=(60, 40, 20, 8))
    assess_run(run)
    registry.compute_parts(RunContext(run), ["confidence"])
    assert "thresholds per class" not in ParsedPage(render_page(run)).text("confidence")
    registry.compute_parts(RunContext(run, class_thresholds=ThresholdRequest.of(words)), ["thresholds"])
    found = run.read_analysis("thresholds")
    assert found
    effects = found["cross_fitted"], found["test"]
    card, page = render_card(run), ParsedPage(render_page(run)).text("confidence")
    for effect in effects:
        if words == "macro_f1":
            f1 = effect["comparison"]["macro_f1"]
            expected = f"macro F1 is {f1['a']:.4f} with them and {f1['b']:.4f} without"
        else:
            expected = f"{effect['with_thresholds']['answered']} of {effect['rows']}"
        assert expected in card
        assert expected in page
    never = [name for name, entry in found["classes"].items() if entry["threshold"] is None]
    assert page.count("never answered") == len(never)
    assert bool(never) == (words != "macro_f1")
