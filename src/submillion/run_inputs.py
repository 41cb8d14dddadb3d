"""The inputs of a run: its recipe, data, budget and encoder, and how the manifest records them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from submillion import environment, notices
from submillion.budget.count import Count, count
from submillion.budget.gate import gate
from submillion.budget.pooling import with_pooling
from submillion.data.corpus import Corpus, store_rows
from submillion.data.corpus_sources import MORE
from submillion.data.rows import LabelledRows
from submillion.errors import BadInput, Problem
from submillion.files.atomic import atomic_dir, atomic_file
from submillion.recipe import Recipe
from submillion.run_format.manifest import (
    FORMAT,
    BudgetEntry,
    DataEntry,
    DecisionEntry,
    GitEntry,
    MachineEntry,
    Manifest,
)
from submillion.run_format.splits import SPLITS
from submillion.rundir import RunDir
from submillion.sources.fetch import FetchedEncoder, encoder_config, known_labels
from submillion.version import __version__

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CONTINUED_ELSEWHERE = "continued_elsewhere"
"""Code of the notice of a training that was resumed on another machine, or with other versions or threads."""


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
    config, head = encoder_config(recipe.encoder.source, recipe.encoder.revision), with_pooling(recipe).head
    counted = count(config, n_classes, recipe.lora, head, recipe.budget)
    gate(counted, config, n_classes, recipe.lora, head)
    return counted


def create_run(
    run: RunDir, inputs: Inputs, rows: LabelledRows | None, decision: DecisionEntry | None = None
) -> Inputs:
    """Write recipe and manifest of a new run, rows that were passed from memory, and corrections of labels.

    Args:
        run: the directory.
        inputs: what the run is made of.
        rows: training rows from memory; None if they are those of the recipe's source.
        decision: the facts and reasons of a recipe that `auto` has decided.

    Returns:
        The inputs; rows from memory and corrections are now those of files in the run.

    Raises:
        SubmillionError: the disk refused the write.
    """
    if rows is not None:
        file = run.training_rows.resolve()
        corpus = store_rows(inputs.corpus, rows, inputs.recipe.data, file)
        inputs = replace(inputs, corpus=corpus, recipe=inputs.recipe.with_data(train=str(file)))
    if (corrections := inputs.corpus.corrections) is not None:
        # A copy: the file will be written again for the next round.
        copy = run.corrections(corrections.name).resolve()
        with atomic_file(copy) as temporary:
            temporary.write_bytes(corrections.content)
        inputs = replace(inputs, recipe=inputs.recipe.with_data(corrections=str(copy)))
    run.write_recipe(inputs.recipe)
    manifest = first_manifest(inputs)
    if decision is not None:
        manifest["decision"] = decision
    run.write_json(run.manifest, run.relative(manifest))
    return inputs


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, target: Path) -> None:
    """Save a run's tokenizer; the folder is replaced whole.

    Raises:
        SubmillionError: the disk refused the write.
    """

    def save(folder: Path) -> None:
        try:
            tokenizer.save_pretrained(folder)
        except Exception as error:
            # The tokenizers library raises a plain Exception when the disk refuses: "... (os error 28)".
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(folder)) from error

    atomic_dir(target, save)


def first_manifest(inputs: Inputs) -> Manifest:
    """Return the manifest as it is known before the first step."""
    recipe, encoder, corpus = inputs.recipe, inputs.encoder, inputs.corpus
    manifest: Manifest = {
        "format": FORMAT,
        "submillion": __version__,
        "name": recipe.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": "running",
        "seed": recipe.seed,
        "labels": corpus.label_names,
        "max_length": recipe.data.max_length,
        "versions": environment.versions(),
        "machine": cast(MachineEntry, environment.machine()),
        "git": cast(GitEntry | None, environment.git_state()),
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
    if corpus.class_values:
        manifest["label_values"] = corpus.classes
    return manifest


def check_unchanged(manifest: Manifest, inputs: Inputs) -> None:
    """Refuse to resume on other data or another encoder than the run was started with.

    Raises:
        BadInput: rows or the encoder have changed; the files are named.
    """
    remedy = "Restore the original files, or train again."
    before, now = manifest["data"], inputs.corpus.report
    fingerprints = [
        {name: entry["fingerprint"] for name, entry in report["splits"].items()} for report in (before, now)
    ]
    problems = [
        Problem(where, "unchanged since the run started", "changed", remedy)
        for split in SPLITS
        if fingerprints[0].get(split) != fingerprints[1].get(split)
        for where in _changed_files(split, before, inputs) or [f"{split} rows"]
    ]
    if manifest["encoder"]["sha256"] != inputs.encoder.sha256:
        problems.append(Problem(str(inputs.encoder.path), "the encoder of the run", "another one", remedy))
    if problems:
        raise BadInput(list(dict.fromkeys(problems)))


def announce_other_arithmetic(manifest: Manifest) -> None:
    """Say in a notice what a resumed training computes otherwise than before: `verify` then expects no equal bits.

    To be called when number format and execution are chosen. Such notices of earlier resumptions are kept.
    """
    earlier = cast(list[dict[str, Any]], manifest.get("notices", []))
    notices.repeat(notice for notice in earlier if notice["code"] == CONTINUED_ELSEWHERE)
    here = {"machine": environment.machine(), "versions": environment.versions()}
    differing = environment.differing_facts(manifest, here, environment.DECIDING, now="now")
    before, now = ({notice["code"]: notice for notice in some} for some in (earlier, notices.collected()))
    for code, fact in (("precision", "dtype"), ("execution", "execution")):
        values = [some[code].get(fact) if code in some else None for some in (before, now)]
        if None not in values and values[0] != values[1]:
            differing.append(f"{code} {values[0]}, now {values[1]}")
    if differing:
        notices.emit(
            CONTINUED_ELSEWHERE,
            f"the training goes on with other arithmetic than it began with: {'; '.join(differing)}. Its result may "
            "differ from that of an undisturbed run.",
            differing="; ".join(differing),
        )


def _changed_files(split: str, before: DataEntry, inputs: Inputs) -> list[str]:
    """Return the files of a split that have changed; validation rows may be taken from those of the training."""
    sources = inputs.corpus.report["sources"]
    named = split if split in sources else "train"
    changed = []
    for source in [named, *([MORE] if named == "train" and MORE in sources else [])]:
        hashes = [
            entry["sources"].get(source, {}).get("sha256", {}) for entry in (before, inputs.corpus.report)
        ]
        place = Path(sources[source]["name"])
        changed += [
            str(place / name if place.is_dir() else place)
            for name in sorted(hashes[0].keys() | hashes[1].keys())
            if hashes[0].get(name) != hashes[1].get(name)
        ]
    return changed
