"""The inputs of a run: its recipe, data, budget and encoder, and how the manifest records them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

from submillion import environment
from submillion.budget.count import Count, count
from submillion.budget.gate import gate
from submillion.data.corpus import Corpus, store_rows
from submillion.data.rows import LabelledRows
from submillion.errors import BadInput, Problem
from submillion.recipe import Recipe
from submillion.run_format.manifest import FORMAT, BudgetEntry, DataEntry, Manifest
from submillion.rundir import RunDir
from submillion.sources.fetch import FetchedEncoder, encoder_config, known_labels
from submillion.version import __version__


@dataclass(frozen=True)
class Inputs:
    """Everything that is read and checked before a run directory is made."""

    recipe: Recipe
    corpus: Corpus
    counted: Count
    encoder: FetchedEncoder


def gate_early(recipe: Recipe) -> None:
    """Refuse an over-budget recipe from the encoder's configuration alone, before data or weights are read.

    A recipe whose classes are only known from its data passes; `gated` checks it once the data is read.

    Raises:
        OverBudget: it trains more parameters than its budget.
    """
    labels = recipe.data.labels or known_labels(recipe.data.train)
    if labels:
        gated(recipe, len(labels))


def gated(recipe: Recipe, n_classes: int) -> Count:
    """Return the counted parameters of a recipe.

    Raises:
        OverBudget: they exceed its budget.
    """
    config = encoder_config(recipe.encoder.source, recipe.encoder.revision)
    counted = count(config, n_classes, recipe.lora, recipe.head, recipe.budget)
    gate(counted, config, n_classes, recipe.lora, recipe.head)
    return counted


def create_run(run: RunDir, inputs: Inputs, rows: LabelledRows | None, overwrite: bool) -> Inputs:
    """Make the run directory with recipe and manifest, and with the rows that were passed from memory.

    Returns:
        The inputs; rows from memory are now those of a file in the run.

    Raises:
        BadInput: the directory is not empty and `overwrite` is off.
        SubmillionError: the disk refused the write.
    """
    RunDir.create(run.path, overwrite=overwrite)
    if rows is not None:
        corpus = store_rows(inputs.corpus, rows, inputs.recipe.data, run.training_rows.resolve())
        inputs = replace(inputs, corpus=corpus)
        run.write_recipe(inputs.recipe.with_data(train=run.in_run(run.training_rows)))
    else:
        run.write_recipe(inputs.recipe)
    run.write_json(run.manifest, run.relative(first_manifest(inputs)))
    return inputs


def first_manifest(inputs: Inputs) -> Manifest:
    """Return the manifest as it is known before the first step."""
    recipe, encoder, corpus = inputs.recipe, inputs.encoder, inputs.corpus
    return {
        "format": FORMAT,
        "submillion": __version__,
        "name": recipe.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": "running",
        "seed": recipe.seed,
        "labels": corpus.label_names,
        "label_type": type(corpus.classes[0]).__name__,
        "max_length": recipe.data.max_length,
        "versions": environment.versions(),
        "machine": environment.machine(),
        "git": environment.git_state(),
        "encoder": {
            "source": recipe.encoder.source,
            "revision": encoder.revision,
            "name": encoder.name,
            "origin": encoder.origin,
            "via": encoder.via,
            "licence": encoder.licence,
            "model_type": encoder_config(recipe.encoder.source, recipe.encoder.revision)["model_type"],
            "sha256": encoder.sha256,
        },
        "budget": cast(BudgetEntry, inputs.counted.to_json()),
        "data": cast(DataEntry, corpus.report),
    }


def check_unchanged(manifest: Manifest, inputs: Inputs) -> None:
    """Refuse to resume on other data or another encoder than the run was started with.

    Raises:
        BadInput: a split or the encoder has changed; all of them are named.
    """
    recorded = {name: split["fingerprint"] for name, split in manifest["data"]["splits"].items()}
    current = {name: split["fingerprint"] for name, split in inputs.corpus.report["splits"].items()}
    changed = [
        f"{name} rows"
        for name in sorted(recorded.keys() | current.keys())
        if recorded.get(name) != current.get(name)
    ]
    if manifest["encoder"]["sha256"] != inputs.encoder.sha256:
        changed.append("encoder")
    if changed:
        remedy = "Restore the original files, or train again."
        raise BadInput(
            [Problem(what, "unchanged since the run started", "changed", remedy) for what in changed]
        )
