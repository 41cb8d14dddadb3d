"""The page of a run: one HTML file without external resources, rendered from the run directory."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from submillion.recipe_data import CROSS_VALIDATION
from submillion.report import page_data
from submillion.report.budget_bar import budget_bar
from submillion.report.class_figures import FEWER_CLASSES, MAX_CLASSES
from submillion.report.drawn_names import numbered
from submillion.report.filters import engine, published
from submillion.report.page_figures import figures_of
from submillion.run_format.splits import REPORTED_SPLITS, split_title
from submillion.rundir import RunDir

TEMPLATE = "page.html.jinja"
# The parts of the analysis in reading order; the page names the command that makes a missing one.
ANALYSIS_PARTS = {
    "intervals": "Intervals of F1, precision and recall",
    "baseline": "Comparison with simpler classifiers",
    "confidence": "Calibration and abstention",
    "errors": "Confused classes and accuracy by slice",
    "attribution": "The words that decide a prediction",
    "audit": "Audit for replaced words, groups and texts of other domains",
    "duplicates": "Near-duplicates between the splits",
    "noise": "Labels that are probably wrong",
}
SECTIONS = {
    "summary": "Summary",
    "classes": "Scores by class",
    "baselines": "Baselines",
    "confidence": "Confidence",
    "errors": "Errors",
    "attribution": "Word attributions",
    "audit": "Audit",
    "data": "Data",
    "training": "Training",
    "provenance": "Provenance",
}
OF_PART = {"baselines": "baseline", "errors": "errors", "attribution": "attribution", "audit": "audit"}
"""The part of the analysis without which a section of the page is left out."""
OF_TRAINING = ("baseline", "duplicates", "noise")
"""The parts that need the training rows, which are unknown of an adopted run."""
_BESIDE = Path(__file__).parent
_IDS: ContextVar[Iterator[int]] = ContextVar("ids")
"""Numbers of the elements of the page that is being rendered."""


def write_page(run: RunDir) -> Path:
    """Write the run's page; returns the file."""
    run.write_text(run.report, render_page(run))
    return run.report


def render_page(run: RunDir) -> str:
    """Return the page of a run as one HTML document without external addresses.

    The same run directory gives the same page: it does not depend on the time, the machine or the path of the run.
    Figures are read from the run's `figures` folder. Missing measurements are written as "not measured".

    Raises:
        BadInput: a file of the run cannot be read.
    """
    _IDS.set(itertools.count(1))
    return page_engine().get_template(TEMPLATE).render(_facts(run))


def _facts(run: RunDir) -> dict[str, Any]:
    """Return the variables of the template; parts that the run lacks are empty."""
    manifest: dict[str, Any] = dict(run.read_manifest())
    metrics = run.read_json(run.metrics) if run.metrics.is_file() else {}
    own = {split: metrics[split] for split in REPORTED_SPLITS if split in metrics}
    scored = {split: scores for split, scores in own.items() if "accuracy" in scores}
    main = next(iter(scored), None)
    recipe = run.read_recipe().model_dump(mode="json") if run.recipe.is_file() else {}
    history = run.read_history()
    labels = [str(label) for label in manifest.get("labels", [])]
    script = _beside("page.js")
    analysis = {part: run.read_analysis(part) for part in ANALYSIS_PARTS}
    return {
        "manifest": manifest,
        "adopted": manifest.get("adopted"),
        "encoder": manifest.get("encoder", {}),
        "data": manifest.get("data", {}),
        "training": manifest.get("training", {}),
        "machine": manifest.get("machine", {}),
        "labels": labels,
        "numbered": numbered(labels),
        "budget": manifest.get("budget", {}),
        "bar": budget_bar(manifest.get("budget", {})),
        "metrics": own,
        "scored": scored,
        "further": {split: scores for split, scores in metrics.items() if split not in own},
        "main": main,
        "folded": run.read_analysis("cross_validation"),
        "thresholds": run.read_analysis("thresholds"),
        "prefix_int8": run.read_analysis("prefix_int8"),
        "crossed": (manifest.get("data", {}).get("validation") or {}).get("from") == CROSS_VALIDATION,
        "scores": scored.get(main, {}) if main else {},
        "bins": {
            split: page_data.confidence_bins(run.load_predictions(split))
            for split in own
            if run.prediction_file(split).is_file()
        },
        "recipe": published(recipe),
        "logged": [record for record in history if record["kind"] == "train"],
        "evaluated": [record for record in history if record["kind"] == "eval"],
        "figures": figures_of(run, metrics, history, analysis),
        **analysis,
        "parts_made": {part: result for part, result in analysis.items() if result is not None},
        "parts_missing": {
            part: words
            for part, words in ANALYSIS_PARTS.items()
            if scored and analysis[part] is None and not ("adopted" in manifest and part in OF_TRAINING)
        },
        "sections": [
            (name, title) for name, title in SECTIONS.items() if analysis.get(OF_PART.get(name, ""), True)
        ],
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "style": _beside("page.css"),
    }


@cache
def page_engine() -> jinja2.Environment:
    """Return the template engine; texts, labels and names are always escaped."""
    environment = engine(autoescape=True)
    environment.globals |= {
        "new_id": lambda: f"c{next(_IDS.get())}",
        "page_data": page_data,
        "max_classes": MAX_CLASSES,
        "fewer_classes": FEWER_CLASSES,
    }
    environment.filters["keep"] = _keep_together
    environment.filters["titled"] = _titled
    return environment


@jinja2.pass_context
def _titled(context: jinja2.runtime.Context, split: str) -> str:
    """Return the name of a split in sentences; see `split_title`."""
    return split_title(split, context["data"])


def _keep_together(text: str) -> str:
    """Prevent line breaks within a number and its unit."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _beside(name: str) -> str:
    return (_BESIDE / name).read_text(encoding="utf-8")
