"""The figures on the page: each of the run's drawings inline, with a description in words of what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from submillion.report.figures import drawings
from submillion.report.inline_svg import inline
from submillion.report.theme import percent
from submillion.rundir import RunDir

if TYPE_CHECKING:
    from markupsafe import Markup

BELOW = "The numbers stand in the table that follows."


@dataclass(frozen=True)
class PageFigure:
    """One figure as it stands on the page."""

    svg: Markup
    title: str


def figures_of(
    run: RunDir,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    analysis: Mapping[str, Any],
) -> dict[str, PageFigure]:
    """Return the figures that lie in the run's `figures` folder, by name.

    Raises:
        xml.etree.ElementTree.ParseError: a figure's file is not what was drawn.
    """
    from markupsafe import Markup

    found = {}
    for index, drawing in enumerate(drawings(run), start=1):
        file = run.figures / f"{drawing.name}.svg"
        if not file.is_file():
            continue
        words = _description(drawing.name, drawing.split, metrics, history, analysis)
        svg = inline(file.read_text(encoding="utf-8"), f"f{index}-", drawing.title, words)
        found[drawing.name] = PageFigure(Markup(svg), drawing.title)  # inline() escapes and filters
    return found


def _description(
    name: str,
    split: str | None,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    analysis: Mapping[str, Any],
) -> str:
    """Say in words what a figure shows; for one without words of its own, where its numbers stand."""
    scores = metrics.get(split, {}) if split else {}
    if name in ("loss", "accuracy"):
        return _of_training(name, history)
    if name.startswith("confusion_") and "confusion" in scores:
        right = scores["correct"]
        return f"{right:,} of {scores['rows']:,} rows lie on the diagonal. {BELOW}"
    if name.startswith("classes_") and scores.get("per_class"):
        ranked = sorted(scores["per_class"].items(), key=lambda item: item[1]["f1"])
        (worst, low), (best, high) = ranked[0], ranked[-1]
        return f"F1 from {percent(low['f1'])} % ({worst}) to {percent(high['f1'])} % ({best}). {BELOW}"
    if name.startswith("confidence_") and "confidence" in scores:
        sure = scores["confidence"]
        return f"Mean confidence {percent(sure['mean'])} %, median {percent(sure['median'])} %. {BELOW}"
    if name.startswith("reliability_"):
        rated = analysis["confidence"]["splits"][split]
        gaps = [entry["accuracy"] - entry["confidence"] for entry in rated["reliability"]]
        return (
            f"{len(gaps)} bins; accuracy less confidence from {100 * min(gaps):.1f} to {100 * max(gaps):.1f} "
            f"points. {BELOW}"
        )
    if name.startswith("risk_coverage_"):
        curve = analysis["confidence"]["splits"][split]["risk_coverage"]
        return f"With every row answered {percent(curve['risk'][-1])} % of the answers are wrong. {BELOW}"
    if name == "swaps":
        return f"{_of_swaps(analysis['audit']['swaps'])} {BELOW}"
    return BELOW


def _of_swaps(axes: Sequence[Mapping[str, Any]]) -> str:
    overall = [(axis["title"], axis["overall"]) for axis in axes if not axis["too_small"]]
    return " ".join(
        f"{title}: {percent(found['flip_rate'])} % of {found['texts']:,} answers change, "
        f"{percent(found['control_rate'])} % in the control."
        for title, found in overall
    )


def _of_training(name: str, history: Sequence[Mapping[str, Any]]) -> str:
    evaluated = [record for record in history if record["kind"] == "eval"]
    if name == "accuracy":
        values = ", ".join(
            f"{percent(record['accuracy'], 2)} % at step {record['step']:,}" for record in evaluated
        )
        return f"Validation accuracy: {values}."
    logged = [record for record in history if record["kind"] == "train"]
    told = [
        f"{what} loss from {records[0]['loss']:.4f} at step {records[0]['step']:,} "
        f"to {records[-1]['loss']:.4f} at step {records[-1]['step']:,}"
        for what, records in (("Training", logged), ("validation", evaluated))
        if records
    ]
    return f"{', '.join(told)}. {BELOW}"
