"""Compares trainings in float with those whose training steps, or cached lower layers, are in int8, on held-out rows.

    python -m benchmarks.int8_training frozen --data agnews-train.csv --encoder minilm --layers all
    python -m benchmarks.int8_training prefix --data agnews-train.csv --encoder minilm --layers top-3

`frozen` compares the values of `train.frozen_precision`, `prefix` those of `train.prefix_precision`. A seed draws the
held-out rows, the adapters' first values and the order of texts; float and int8 share them. Both are scored by the
whole encoder in float, as a run is evaluated. The prefix pass is timed in an empty cache folder, with the calibration
and the packing of the weights. Cells are appended to benchmarks/int8_training.csv with processor and commit, and one
that the file has is not computed again. No test row is read.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from sklearn.metrics import f1_score

from benchmarks.cells import append_cell, known, machine_facts, paired, read_cells
from submillion import notices
from submillion.data.corpus import Corpus, load_corpus
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.fit.fit import fit
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.options import FitOptions
from submillion.fit.plan import TrainingPlan
from submillion.fit.workers import Workers
from submillion.model.build import build
from submillion.model.execution.choose import choose_execution
from submillion.model.execution.int8_prefix import lower_layers
from submillion.model.execution.int8_training import set_step_precision
from submillion.model.infer import predict_logits
from submillion.model.precision import choose_precision
from submillion.model.prefix import PrefixCache
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.sources.fetch import fetch_encoder

FILE = Path(__file__).with_name("int8_training.csv")
PRECISIONS = ("float", "int8")
PARTS = ("frozen", "prefix")
"""What is in int8: the field of the recipe's section `train` is `{part}_precision`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the missing cells, and print the table."""
    parser = argparse.ArgumentParser(description="Compare trainings in float and in int8.")
    parser.add_argument("part", nargs="?", choices=PARTS, help="what is in int8")
    parser.add_argument("--data", help="file of labelled texts, all of them training rows")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--layers", default="top-3", help="lora.layers")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--limit", type=int, default=20_000, help="most rows to train on, and to hold out")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="FIELD=VALUE", help="further fields of the recipe"
    )
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args(arguments)
    if not options.table:
        if options.data is None or options.part is None:
            parser.error("expected what is in int8, and --data FILE")
        measure(options)
    for line in table(read_cells(FILE)):
        print(line)


def measure(options: argparse.Namespace) -> None:
    """Compute the cells of one data set and encoder."""
    facts = machine_facts()
    for seed in range(options.seeds):
        key = {"part": options.part, "data": Path(options.data).stem, "encoder": Path(options.encoder).name,
               "layers": options.layers, "epochs": options.epochs, "limit": options.limit,
               "fields": " ".join(options.set), "seed": seed}  # fmt: skip
        keys = {precision: key | {"precision": precision} for precision in PRECISIONS}
        if all(known(FILE, each) for each in keys.values()):
            continue
        recipe = recipe_of(options, seed)
        with notices.suppressed():
            corpus = load_corpus(recipe.data, recipe.seed)
            for precision, each in keys.items():
                cell = train(recipe, {f"{options.part}_precision": precision}, corpus)
                print(*each.values(), *cell.values(), flush=True)
                append_cell(FILE, each | cell | facts)


def recipe_of(options: argparse.Namespace, seed: int) -> Recipe:
    """Return the shipped recipe `r8` on other data, with upper layers of another encoder."""
    fields = {
        "data.train": options.data,
        "data.test": "none",
        "data.limit": options.limit,
        "data.max_length": 128,
        "encoder.source": options.encoder,
        "lora.layers": options.layers,
        "train.epochs": options.epochs,
        "seed": seed,
    }
    return Recipe.load("r8", [*(f"{name}={value}" for name, value in fields.items()), *options.set])


def train(recipe: Recipe, fields: dict[str, Any], corpus: Corpus) -> dict[str, Any]:
    """Train with fields of the section `train`, and return scores of the held-out rows and seconds.

    Args:
        recipe: how to train; without a choice of the best evaluation, because the held-out rows score.
        fields: what is in int8.
        corpus: its validation rows are the held-out ones.
    """
    encoder = fetch_encoder(recipe.encoder.source, recipe.encoder.revision)
    tokenizer, truncation = load_tokenizer(encoder.path), Truncation.of(recipe.data)
    tokens, held_out = (
        encode(tokenizer, split.texts, truncation) for split in (corpus.train, corpus.validation)
    )
    classifier = build(encoder, corpus.label_names, recipe)
    execution = choose_execution(classifier, choose_precision(recipe.train.precision), recipe.train.execution)
    section = recipe.train.model_copy(update=fields)
    set_step_precision(section, execution)
    with TemporaryDirectory(prefix="prefix-") as folder, mock.patch.dict(os.environ, SUBMILLION_CACHE=folder):
        started_at = time.perf_counter()
        lower = lower_layers(section, execution, tokens)
        calibrated_at = time.perf_counter()
        prefix = None
        if classifier.prefix_depth:
            prefix = PrefixCache.build(execution, tokens, section.eval_batch_size, lower=lower)
            if prefix is None:
                raise SystemExit("the states of these texts do not fit in memory")
        cached_at = time.perf_counter()
        run = RunDir(Path(folder) / "run")
        run.path.mkdir()
        fit(
            execution,
            replace(LabelledTokens.of(tokens, corpus.train.labels), prefix=prefix),
            None,
            plan=replace(TrainingPlan.of(recipe), train=section),
            run=run,
            workers=Workers.start(),
            options=FitOptions(progress=False),
        )
        trained_at = time.perf_counter()
    predicted = predict_logits(execution, held_out, section.eval_batch_size).argmax(axis=1)
    labels = corpus.validation.labels
    return {
        "accuracy": f"{float((predicted == labels).mean()):.5f}",
        "macro_f1": f"{f1_score(labels, predicted, average='macro'):.5f}",
        "rows": len(tokens), "held_out": len(held_out), "tokens": int(tokens.lengths.sum()),
        "float_matrices": 0 if lower is None else len(lower.float_matrices),
        "calibration_s": f"{calibrated_at - started_at:.2f}",
        "prefix_s": f"{cached_at - started_at:.2f}",
        "training_s": f"{trained_at - cached_at:.2f}",
    }  # fmt: skip


def table(cells: list[dict[str, str]]) -> Iterator[str]:
    """Yield a table in Markdown: scores, their differences within a seed in points, and seconds."""
    yield (
        "| in int8, data, encoder, layers, training rows, epochs | accuracy, float | int8 minus float (seeds) "
        "| macro F1, float | int8 minus float (seeds) | prefix pass, float | int8 | training, float | int8 |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    names = ("part", "data", "encoder", "layers", "rows", "epochs", "fields")
    for key in dict.fromkeys(tuple(cell[name] for name in names) for cell in cells):
        here = [cell for cell in cells if tuple(cell[name] for name in names) == key]
        of = {
            precision: {cell["seed"]: cell for cell in here if cell["precision"] == precision}
            for precision in PRECISIONS
        }
        seeds = [seed for seed in of["float"] if seed in of["int8"]]
        if not seeds:
            continue
        columns = [", ".join(part for part in key if part)]
        for score in ("accuracy", "macro_f1"):
            exact, rounded = ([100 * float(of[each][seed][score]) for seed in seeds] for each in PRECISIONS)
            columns.append(f"{statistics.mean(exact):.2f}")
            columns.append(paired([b - a for a, b in zip(exact, rounded, strict=True)], digits=2))
        seconds = [
            statistics.median(float(of[each][seed][name]) for seed in seeds)
            for name in ("prefix_s", "training_s")
            for each in PRECISIONS
        ]
        yield "| " + " | ".join([*columns, *(f"{value:.1f} s" for value in seconds)]) + " |"


if __name__ == "__main__":
    main()
