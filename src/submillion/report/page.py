"""The page of a run: one file that holds everything, written from the run directory alone."""

from __future__ import annotations

import base64
import hashlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from submillion.report import page_views
from submillion.report.budget_bar import budget_bar
from submillion.report.filters import engine, published
from submillion.report.page_figures import figures_of
from submillion.rundir import RunDir

if TYPE_CHECKING:
    import jinja2

TEMPLATE = "page.html.jinja"
# The parts of the analysis in the order of reading; the page says of those that were not made how to make them.
PARTS = (
    "intervals",
    "baseline",
    "probe",
    "confidence",
    "errors",
    "attribution",
    "audit",
    "duplicates",
    "noise",
)
SECTIONS = {
    "answer": "In short",
    "classes": "Scores by class",
    "confusion": "Confusion",
    "baselines": "Against simpler models",
    "confidence": "Confidence",
    "errors": "Errors",
    "attribution": "Words that decide",
    "audit": "Audit",
    "data": "Data",
    "training": "Training",
    "provenance": "Provenance",
}
_BESIDE = Path(__file__).parent


def write_page(run: RunDir) -> Path:
    """Write the run's page; returns the file."""
    run.write_text(run.report, render_page(run))
    return run.report


def render_page(run: RunDir) -> str:
    """Return the run's page: one HTML document without any address outside itself.

    The same run directory gives the same page: nothing of the moment, the machine or the run's place is in it.
    Figures are taken from the run's `figures` folder. What the run did not measure is called "not measured".

    Raises:
        BadInput: a file of the run cannot be read.
    """
    return _engine().get_template(TEMPLATE).render(_facts(run))


def _facts(run: RunDir) -> dict[str, Any]:
    """Return what the template asks for, by name; parts that the run lacks are empty."""
    manifest = run.read_manifest()
    metrics = run.read_json(run.metrics) if run.metrics.is_file() else {}
    scored = {split: scores for split, scores in metrics.items() if "accuracy" in scores}
    main = next((split for split in ("test", "validation") if split in scored), next(iter(scored), None))
    order = sorted(metrics, key=lambda split: split != main)
    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8")) if run.recipe.is_file() else {}
    history = run.read_history()
    script = _beside("page.js")
    analysis = {part: run.read_analysis(part) for part in PARTS}
    return {
        "manifest": manifest,
        "encoder": manifest.get("encoder", {}),
        "data": manifest.get("data", {}),
        "training": manifest.get("training", {}),
        "machine": manifest.get("machine", {}),
        "labels": [str(label) for label in manifest.get("labels", [])],
        "budget": manifest.get("budget", {}),
        "bar": budget_bar(manifest.get("budget", {})),
        "metrics": {split: metrics[split] for split in order},
        "scored": {split: scored[split] for split in order if split in scored},
        "main": main,
        "scores": scored.get(main, {}) if main else {},
        "bins": {
            split: page_views.confidence_bins(run.load_predictions(split))
            for split in order
            if run.prediction_file(split).is_file()
        },
        "recipe": published(recipe),
        "logged": [record for record in history if record["kind"] == "train"],
        "evaluated": [record for record in history if record["kind"] == "eval"],
        "figures": figures_of(run, metrics, history, analysis),
        **analysis,
        "parts_made": {part: found for part, found in analysis.items() if found is not None},
        "sections": list(SECTIONS.items()),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "style": _beside("page.css"),
    }


def _engine() -> jinja2.Environment:
    """Return the template engine: what a text, a label or a name holds is always escaped."""
    made = engine(autoescape=True)
    numbers = itertools.count(1)
    made.globals |= {
        "new_id": lambda: f"c{next(numbers)}",
        "views": page_views,
    }
    made.filters["keep"] = _keep
    return made


def _keep(text: str) -> str:
    """Keep a number and its unit on one line."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _beside(name: str) -> str:
    return (_BESIDE / name).read_text(encoding="utf-8")
