"""The model card: the run's README.md in the Hugging Face format, every fact read from the run's files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml

from submillion.report.figures import drawings
from submillion.report.filters import engine, public, published
from submillion.rundir import RunDir
from submillion.sources.catalog import DATASETS, ENCODERS, find

if TYPE_CHECKING:
    import jinja2
    from huggingface_hub import EvalResult

TEMPLATE = "card.md.jinja"
PARTS = ("encoder", "data", "budget", "training", "machine", "versions")  # of the manifest
ANALYSIS = ("confidence", "intervals", "errors", "baseline", "probe", "duplicates", "noise", "audit")
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$|^[a-z0-9][a-z0-9_.-]*$")
_LICENCE_ID = re.compile(r"^[a-z0-9][a-z0-9.+-]*$")


def write_card(run: RunDir) -> Path:
    """Write the run's model card from its manifest, recipe, metrics and figures.

    A fact that the run does not hold is written as "not measured".

    Returns:
        The file written.
    """
    run.write_text(run.card, render_card(run))
    return run.card


def render_card(run: RunDir) -> str:
    """Return the run's model card; the same run directory gives the same card."""
    return _engine().get_template(TEMPLATE).render(_facts(run))


def _facts(run: RunDir) -> dict[str, Any]:
    """Return what the template asks for, by name; parts that the run lacks are empty."""
    manifest = run.read_manifest()
    metrics = run.read_json(run.metrics) if run.metrics.is_file() else {}
    # The test split is what a reader came for; the others follow it.
    metrics = {split: metrics[split] for split in sorted(metrics, key=lambda split: split != "test")}
    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8")) if run.recipe.is_file() else {}
    parts = {name: manifest.get(name, {}) for name in PARTS}
    main = next(iter(metrics), None)
    figures = [
        (drawing.split in (None, main), (drawing.title, f"figures/{quote(drawing.name)}.png"))
        for drawing in drawings(run)
        if (run.figures / f"{drawing.name}.png").is_file()
    ]
    return {
        **parts,
        "encoder": {"sha256": {}} | parts["encoder"],
        "data": {"splits": {}} | parts["data"],
        "budget": {"parts": {}} | parts["budget"],
        "metadata": metadata(manifest, metrics),
        **{part: run.read_analysis(part) for part in ANALYSIS},
        "manifest": manifest,
        "metrics": metrics,
        "scored": {split: scores for split, scores in metrics.items() if "accuracy" in scores},
        "recipe": published(recipe),
        "labels": manifest.get("labels", []),
        "base": base_of(manifest) or "FOLDER_OF_THE_ENCODER",
        "figures": [figure for first, figure in figures if first],
        "more_figures": [figure for first, figure in figures if not first],
    }


def metadata(manifest: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Return the card's metadata block as yaml, in the form that the Hugging Face hub reads."""
    from huggingface_hub import ModelCardData

    encoder, data = manifest.get("encoder", {}), manifest.get("data", {})
    base, dataset = base_of(manifest), dataset_of(manifest)
    licence, licence_name = _licence(encoder.get("licence"), data.get("licence"))
    card = ModelCardData(
        model_name=manifest.get("name"),
        base_model=base,
        library_name="peft",
        pipeline_tag="text-classification",
        tags=["lora", "submillion", "text-classification", "transformers"],
        datasets=[dataset] if dataset else None,
        metrics=["accuracy", "f1"],
        eval_results=_eval_results(manifest, metrics) or None,
        license=licence,
        license_name=licence_name,
    )
    return card.to_yaml()


def base_of(manifest: dict[str, Any]) -> str | None:
    """Return the encoder's hub id, or None for one that came from a folder."""
    return _hub_id(ENCODERS, manifest.get("encoder", {}).get("source"))


def dataset_of(manifest: dict[str, Any]) -> str | None:
    """Return the data's hub id, or None for data from files or wheels alone."""
    return _hub_id(DATASETS, manifest.get("data", {}).get("source"))


def _hub_id(catalog: Mapping[str, Any], source: str | None) -> str | None:
    """Return the hub id of a source in the manifest: the catalog's, the id itself, or None for a path.

    The manifest's paths are absolute, so that what looks like an id is one.
    """
    if source is None:
        return None
    entry = find(catalog, source)
    if entry:
        return entry.hub
    return source if _HUB_ID.match(source) else None


def _licence(encoder: str | None, data: str | None) -> tuple[str, str | None]:
    """Return the metadata's licence and its name: the one that encoder and data share, else `other`."""
    if encoder and data and encoder.lower() == data.lower() and _LICENCE_ID.match(encoder.lower()):
        return encoder.lower(), None
    return "other", "terms-of-encoder-and-data"


def _eval_results(manifest: dict[str, Any], metrics: dict[str, Any]) -> list[EvalResult]:
    """Return accuracy and macro F1 of each labelled split in the hub's form."""
    from huggingface_hub import EvalResult

    data = manifest.get("data", {})
    name = str(public(data.get("name")) or "data of the run")
    results = []
    for split, scores in metrics.items():
        for kind, key, title in (("accuracy", "accuracy", "Accuracy"), ("f1", "macro_f1", "Macro F1")):
            if key in scores:
                results.append(
                    EvalResult(
                        task_type="text-classification",
                        task_name="Text Classification",
                        dataset_type=dataset_of(manifest) or name,
                        dataset_name=name,
                        dataset_split=split,
                        metric_type=kind,
                        metric_name=title,
                        metric_value=scores[key],
                        metric_args={"average": "macro"} if kind == "f1" else None,
                    )
                )
    return results


def _engine() -> jinja2.Environment:
    """Return the template engine with the card's own ways of writing a value."""
    import jinja2

    made = engine(autoescape=False)  # the card is Markdown, not HTML; `cell` escapes what would break it
    made.filters |= {
        "cell": _cell,
        "least_recall": _least_recall,
        "python": lambda value: repr(None if isinstance(value, jinja2.Undefined) else value),
    }
    return made


def _least_recall(per_class: Mapping[str, Mapping[str, float]]) -> tuple[str, Mapping[str, float]] | None:
    """Return the class with rows whose texts are found least often, and its scores."""
    scored = [(name, score) for name, score in per_class.items() if score["support"]]
    return min(scored, key=lambda item: item[1]["recall"], default=None)


def _cell(text: str) -> str:
    """Escape what would end a Markdown table's cell or start markup in it."""
    return re.sub(r"([\\|*_`<\[\]])", r"\\\1", " ".join(str(text).split()))
