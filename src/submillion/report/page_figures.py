"""The figures of the page: every figure of the run as inline SVG with a text alternative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from submillion.report.figures import drawings
from submillion.report.inline_svg import inline
from submillion.rundir import RunDir
from submillion.wording import percent, points_range

NUMBERS = "A table in this section contains the numbers."


@dataclass(frozen=True)
class PageFigure:
    """One figure of the page."""

    svg: Markup
    title: str


def figures_of(
    run: RunDir,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    analysis: Mapping[str, Any],
) -> dict[str, PageFigure]:
    """Return the figures in the run's `figures` folder by name.

    Raises:
        xml.etree.ElementTree.ParseError: the file of a figure is not XML.
    """
    figures = {}
    for index, drawing in enumerate(drawings(run), start=1):
        file = run.figures / f"{drawing.name}.svg"
        if not file.is_file():
            continue
        words = _description(drawing.name, drawing.split, metrics, history, analysis)
        svg = inline(file.read_text(encoding="utf-8"), f"f{index}-", drawing.title, words)
        figures[drawing.name] = PageFigure(Markup(svg), drawing.title)  # noqa: S704 - inline() escapes and filters
    return figures


def _description(
    name: str,
    split: str | None,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    analysis: Mapping[str, Any],
) -> str:
    """Return the text alternative of a figure: its main result, and where its numbers are."""
    scores = metrics.get(split, {}) if split else {}
    if name in ("loss", "accuracy"):
        return _training_description(name, history)
    if name.startswith("confusion_") and "confusion" in scores:
        return f"{scores['correct']:,} of {scores['rows']:,} rows are on the diagonal. {NUMBERS}"
    if name.startswith("classes_") and scores.get("per_class"):
        ranked = sorted(scores["per_class"].items(), key=lambda item: item[1]["f1"])
        (worst, low), (best, high) = ranked[0], ranked[-1]
        return f"F1 from {percent(low['f1'])} ({worst}) to {percent(high['f1'])} ({best}). {NUMBERS}"
    if name.startswith("confidence_") and "confidence" in scores:
        confidence = scores["confidence"]
        mean, median = percent(confidence["mean"]), percent(confidence["median"])
        return f"Mean confidence {mean}, median {median}. {NUMBERS}"
    if name.startswith("reliability_"):
        bins = analysis["confidence"]["splits"][split]["reliability"]
        gaps = [entry["accuracy"] - entry["confidence"] for entry in bins]
        span = points_range(min(gaps), max(gaps), 1)
        return f"{len(gaps)} bins; accuracy minus confidence from {span} points. {NUMBERS}"
    if name.startswith("risk_coverage_"):
        curve = analysis["confidence"]["splits"][split]["risk_coverage"]
        return f"With every row answered, {percent(curve['risk']['value'][-1])} of the predictions are wrong. {NUMBERS}"
    if name == "swaps":
        return f"{_swaps_description(analysis['audit']['swaps'])} {NUMBERS}"
    return NUMBERS


def _swaps_description(axes: Sequence[Mapping[str, Any]]) -> str:
    overall = [(axis["title"], axis["overall"]) for axis in axes if not axis["too_small"]]
    return " ".join(
        f"{title}: {percent(rates['flip_rate'])} of {rates['texts']:,} predictions change, "
        f"{percent(rates['control_rate'])} in the control."
        for title, rates in overall
    )


def _training_description(name: str, history: Sequence[Mapping[str, Any]]) -> str:
    evaluated = [record for record in history if record["kind"] == "eval"]
    if name == "accuracy":
        values = ", ".join(
            f"{percent(record['accuracy'], 2)} at step {record['step']:,}" for record in evaluated
        )
        return f"Validation accuracy: {values}."
    logged = [record for record in history if record["kind"] == "train"]
    losses = [
        f"{title} loss from {records[0]['loss']:.4f} at step {records[0]['step']:,} "
        f"to {records[-1]['loss']:.4f} at step {records[-1]['step']:,}"
        for title, records in (("Training", logged), ("validation", evaluated))
        if records
    ]
    return f"{', '.join(losses)}. {NUMBERS}"
