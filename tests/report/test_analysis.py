"""Tests of the analysis in card and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from submillion.assess import registry
from submillion.assess.run_context import RunContext
from submillion.assess.score import assess_run
from submillion.errors import BadInput
from submillion.report.card import write_card
from submillion.report.figures import drawings
from submillion.run_format.interval import interval
from support.examined import examined
from support.tiny import tiny_texts


def a_context(home: Path) -> RunContext:
    """Return a run whose answers to every fifth text are wrong, at a confidence of 0.7."""
    texts, labels = tiny_texts(60, seed=4)
    probabilities = np.full((60, 4), 0.1, np.float32)
    answers = [(label + (row % 5 == 0)) % 4 for row, label in enumerate(labels)]
    probabilities[np.arange(60), answers] = 0.7
    return examined(home, (list(texts), list(labels)), probabilities, (list(texts), list(labels)))


def test_card_and_figures_contain_the_analysis(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    run = context.run
    run.update_manifest(name="made")
    assess_run(run)
    before = write_card(run).read_text(encoding="utf-8")
    assert "Calibration: not measured." in before
    assert "### Errors" not in before
    assert not {"confused_pairs", "slices"} & {drawing.name for drawing in drawings(run)}

    registry.compute_parts(context, ["confidence", "intervals", "errors"])
    card = write_card(run).read_text(encoding="utf-8")
    found, scores = run.read_analysis("confidence"), run.read_analysis("intervals")
    assert found is not None and scores is not None
    assert "Calibration: not measured" not in card
    assert f"| test | 60 | {found['splits']['test']['ece']['value']:.4f} (" in card
    assert f"test {scores['splits']['test']['macro_f1']['value']:.4f} (" in card
    assert "12 of 60 rows were misclassified" in card
    assert {"confused_pairs", "slices"} <= {drawing.name for drawing in drawings(run)}


def test_an_estimate_without_limits_is_written_without_an_interval(tmp_path: Path) -> None:
    """Splits of a few rows have none."""
    context = a_context(tmp_path)
    run = context.run
    run.update_manifest(name="made")
    assess_run(run)
    registry.compute_parts(context, ["intervals"])
    found = run.read_analysis("intervals")
    assert found is not None
    found["splits"]["test"]["macro_f1"] = interval(0.25)
    run.write_analysis("intervals", found)
    assert "test 0.2500 (interval not defined)" in write_card(run).read_text(encoding="utf-8")


def test_an_unknown_part_is_refused_with_the_nearest(tmp_path: Path) -> None:

    with pytest.raises(BadInput, match="Did you mean 'errors'"):
        registry.check_names(["eror"])
