"""Tests of the figures of confidence: values of the analysis, nothing clipped."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submillion.assess.confidence.analysis import analyse
from submillion.assess.run_context import RunContext
from submillion.report.confidence_figures import reliability_diagram, risk_coverage_curve
from submillion.report.theme import house_style
from submillion.run_format.interval import interval
from support.run import made_run


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return analyse(RunContext(made_run(tmp_path_factory.mktemp("made") / "run", sizes=(150, 150, 150, 150))))


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with house_style():
        yield


def texts_of(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def points_of(axes: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the x and y of every series of markers."""
    return [(line.get_xdata(), line.get_ydata()) for line in axes.lines if line.get_linestyle() == "None"]


def test_the_bins_are_at_the_values_of_the_analysis(found: dict[str, Any]) -> None:
    figure = reliability_diagram(found, "test", "Reliability")
    diagram, gaps = figure.axes
    given, after = found["splits"]["test"]["reliability"], found["temperature"]["test"]["reliability"]
    for bins, (x, y), (_, gap) in zip((given, after), points_of(diagram), points_of(gaps), strict=True):
        assert x == pytest.approx([100 * entry["confidence"] for entry in bins])
        assert y == pytest.approx([100 * entry["accuracy"] for entry in bins])
        assert gap == pytest.approx(y - x)
    assert {"uncalibrated", f"at temperature {found['temperature']['value']:.2f}"} <= set(texts_of(figure))


def test_validation_is_drawn_without_the_temperature_fitted_on_it(found: dict[str, Any]) -> None:
    assert len(points_of(reliability_diagram(found, "validation", "").axes[0])) == 1
    without = found | {"temperature": None}
    assert len(points_of(reliability_diagram(without, "test", "").axes[0])) == 1


def test_the_curve_and_the_point_of_the_policy_equal_the_analysis(found: dict[str, Any]) -> None:
    figure = risk_coverage_curve(found, "test", "Risk and coverage")
    curve, point = figure.axes[0].lines
    saved = found["splits"]["test"]["risk_coverage"]
    assert curve.get_ydata()[-1] == pytest.approx(100 * saved["risk"]["value"][-1])
    assert min(curve.get_xdata()) >= 2
    given = found["policy"]["test"]
    assert point.get_xdata() == [100 * given["coverage"]]
    assert point.get_ydata() == [pytest.approx(100 * (1 - given["accuracy"]))]
    words = next(text for text in texts_of(figure) if text.startswith("policy for"))
    assert f"{100 * given['coverage']:.1f}% answered" in words
    assert f"{100 * given['accuracy']:.1f}% of them correct" in words


@pytest.mark.parametrize("policy", [None, "out of reach", "answers nothing"])
def test_a_policy_without_answers_has_no_point(found: dict[str, Any], policy: str | None) -> None:
    changed = copy.deepcopy(found)
    if policy is None:
        changed["policy"] = None
    elif policy == "out of reach":
        changed["policy"] |= {"threshold": None, "validation": None, "test": None}
    else:
        changed["policy"]["test"] |= {
            "answered": 0,
            "coverage": 0.0,
            "accuracy": None,
            "accuracy_interval": interval(None),
        }
    assert len(risk_coverage_curve(changed, "test", "").axes[0].lines) == 1


@pytest.mark.parametrize("coverage", [0.03, 0.3, 0.54, 0.56, 0.97, 1.0])
@pytest.mark.parametrize("accuracy", [0.97, 0.99, 1.0])
def test_the_label_of_the_policy_is_not_clipped(
    found: dict[str, Any], coverage: float, accuracy: float
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    changed = copy.deepcopy(found)
    changed["policy"]["test"] |= {"coverage": coverage, "accuracy": accuracy}
    figure = risk_coverage_curve(changed, "test", "Risk and coverage\ntest, 600 rows; 95% intervals")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    for text in [*figure.texts, *figure.axes[0].texts]:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text


@pytest.mark.parametrize("skill", [0.0, 30.0])
def test_a_handful_of_rows_can_be_drawn(tmp_path: Path, skill: float) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    few = analyse(RunContext(made_run(tmp_path / "run", sizes=(1, 0, 1, 1), skill=skill)))
    for split in few["splits"]:
        for draw in (reliability_diagram, risk_coverage_curve):
            FigureCanvasAgg(draw(few, split, "title")).draw()
