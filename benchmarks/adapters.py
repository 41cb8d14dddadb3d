"""Compares LoRA with other adapters of peft that have about as many parameters, on rows held out of the training rows.

    python -m benchmarks.adapters --sets agnews --agnews FOLDER --per-class 16 64

Top layers of MiniLM, every matrix, mean of the last states, a linear head that begins as a probe. The learning rate of
each method is chosen on development rows and a draw of their own; then all methods train on the same draws. Cells are
appended to benchmarks/adapters.csv with processor and commit, and one that the file has is not computed again. No test
row is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peft import C3AConfig, DeloraConfig, LoraConfig, OFTConfig, RoadConfig

from benchmarks.accuracy.sets import AGNEWS, SETS, load
from benchmarks.cells import append_cell, known, machine_facts, paired, read_cells
from benchmarks.study import development, drawn, run_study, study_parser
from benchmarks.upper_layers import Part, Training, UpperLayers, train_adapters
from submillion.auto.rules import steps_for

FILE = Path(__file__).with_name("adapters.csv")
LORA = "LoRA, r 16"
METHODS: dict[str, Callable[[list[str]], Any]] = {
    LORA: lambda names: LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=names),
    "DeLoRA, r 16": lambda names: DeloraConfig(r=16, target_modules=names),
    "C3A, blocks of 16": lambda names: C3AConfig(block_size=16, init_weights=True, target_modules=names),
    "OFT, blocks of 64": lambda names: OFTConfig(
        oft_block_size=64, use_cayley_neumann=True, target_modules=names
    ),
    "RoAd 4": lambda names: RoadConfig(variant="road_4", target_modules=names),
}
"""Adapters of about as many parameters in MiniLM as LoRA of rank 16; RoAd cannot have as many."""
RATES: dict[str, tuple[float, ...]] = {
    LORA: (5e-4, 1e-3, 2e-3),
    "DeLoRA, r 16": (1e-4, 3e-4, 1e-3),
    "C3A, blocks of 16": (3e-3, 1e-2, 3e-2),
    "OFT, blocks of 64": (3e-4, 1e-3, 3e-3),
    "RoAd 4": (3e-3, 1e-2, 3e-2),
}
"""Learning rates that are tried for each method."""
TUNING_SEED = 100
DEV_ROWS = 500


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the missing cells, and print the table."""
    parser = study_parser("Compare adapters of peft with few labels.", [AGNEWS], seeds=5, max_tokens=48)
    parser.add_argument(
        "--per-class", type=int, nargs="+", default=[16, 64], help="1000 and more: rows in all"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    run_study(parser.parse_args(arguments), FILE, measure, table)


def measure(name: str, options: argparse.Namespace) -> None:
    """Compute the cells of one data set."""
    data = load(name, options.agnews)
    upper = UpperLayers(options.encoder, options.layers, options.max_tokens)
    (tuning, comparison), pool = development(data, DEV_ROWS, 2)
    dev = {TUNING_SEED: upper.states(tuning)}
    held_out = upper.states(comparison)
    facts = machine_facts()
    for size in options.per_class:
        for seed in (TUNING_SEED, *range(options.seeds)):
            sample = drawn(np.array(pool.labels), size, seed)
            train = upper.states(pool.at(sample.tolist()))
            for method in options.methods:
                rates = RATES[method] if seed == TUNING_SEED else [best_rate(name, size, method)]
                for rate in rates:
                    key = {"set": name, "encoder": options.encoder, "size": size, "method": method,
                           "rate": rate, "seed": seed}  # fmt: skip
                    if not known(FILE, key):
                        cell = score(upper, method, train, dev.get(seed, held_out), len(data.classes), key)
                        append_cell(FILE, key | cell | facts)


def score(
    upper: UpperLayers, method: str, train: Part, dev: Part, classes: int, key: dict[str, Any]
) -> dict[str, object]:
    """Train one method, and return its figures."""
    training = Training(steps_for(len(train.labels), 32), key["rate"], key["seed"])
    answer = train_adapters(upper, METHODS[method](upper.names()), train, dev, classes, training)
    accuracy = float((answer.logits.argmax(axis=1) == dev.labels).mean())
    print(*key.values(), f"{accuracy:.4f}", f"{answer.seconds:.0f} s", flush=True)
    return {
        "accuracy": f"{accuracy:.4f}", "rows": len(dev.labels), "parameters": answer.parameters,
        "seconds": f"{answer.seconds:.1f}",
    }  # fmt: skip


def best_rate(name: str, size: int, method: str) -> float:
    """Return the rate with the highest accuracy on the tuning rows; the lower one of equals."""
    cells = [
        cell
        for cell in read_cells(FILE)
        if (cell["set"], cell["size"], cell["method"]) == (name, str(size), method)
        and cell["seed"] == str(TUNING_SEED)
    ]
    return float(max(cells, key=lambda cell: (float(cell["accuracy"]), -float(cell["rate"])))["rate"])


def table(cells: list[dict[str, str]]) -> Iterator[str]:
    """Yield a table in Markdown: accuracy of each method, and its difference to LoRA within a seed."""
    yield "| set, labels a class | method | parameters | rate | accuracy | difference to LoRA (seeds) | seconds |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    compared = [cell for cell in cells if cell["seed"] != str(TUNING_SEED)]
    for name, size in dict.fromkeys((cell["set"], cell["size"]) for cell in compared):
        here = [cell for cell in compared if (cell["set"], cell["size"]) == (name, size)]
        ours = {cell["seed"]: 100 * float(cell["accuracy"]) for cell in here if cell["method"] == LORA}
        for method in dict.fromkeys(cell["method"] for cell in here):
            group = [cell for cell in here if cell["method"] == method]
            accuracy = np.mean([100 * float(cell["accuracy"]) for cell in group])
            differences = [
                100 * float(cell["accuracy"]) - ours[cell["seed"]] for cell in group if cell["seed"] in ours
            ]
            difference = "" if method == LORA or not differences else paired(differences)
            seconds = np.mean([float(cell["seconds"]) for cell in group])
            yield (
                f"| {SETS[name][0]}, {size} | {method} | {int(group[0]['parameters']):,} | {group[0]['rate']} "
                f"| {accuracy:.1f} | {difference} | {seconds:.0f} |"
            )


if __name__ == "__main__":
    main()
