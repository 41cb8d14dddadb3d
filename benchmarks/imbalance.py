"""Compares starts and weights of a training on classes of very different size, on rows held out of the training rows.

    python -m benchmarks.imbalance --sets r52 r8

Upper layers of MiniLM, LoRA of rank 16 on every matrix, mean of the last states, a linear head that begins as a probe.
A seed draws the training rows, the held-out rows, the adapters' first values and the order of texts. Cells are appended
to benchmarks/imbalance.csv with processor and commit, and one that the file has is not computed again. No test row is
read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peft import LoraConfig
from sklearn.metrics import f1_score

from benchmarks.accuracy.sets import SETS, load
from benchmarks.cells import append_cell, known, machine_facts, paired
from benchmarks.study import run_study, study_parser
from benchmarks.upper_layers import BATCH, Part, Training, UpperLayers, train_adapters

FILE = Path(__file__).with_name("imbalance.csv")
PLAIN = "plain"
SETTINGS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "plain, C = 10": {"strength": 10.0},
    "adjusted by 0.5": {"adjustment": 0.5},
    "adjusted by 0.5, C = 10": {"adjustment": 0.5, "strength": 10.0},
    "balanced": {"balanced": True},
    "balanced, C = 10": {"balanced": True, "strength": 10.0},
}
RANK, RATE = 16, 1e-3


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the missing cells, and print the table."""
    parser = study_parser(
        "Compare starts and weights of unbalanced classes.", ["r52", "r8"], seeds=3, max_tokens=64
    )
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--dev-rows", type=int, default=1_500)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    run_study(parser.parse_args(arguments), FILE, measure, table)


def measure(name: str, options: argparse.Namespace) -> None:
    """Compute the cells of one data set."""
    data = load(name, options.agnews)
    upper = UpperLayers(options.encoder, options.layers, options.max_tokens)
    every = upper.states(data.train)
    facts = machine_facts()
    config = {"layers": options.layers, "max_tokens": options.max_tokens, "passes": options.passes}
    for seed in range(options.seeds):
        order = np.random.default_rng(seed).permutation(len(every.labels))
        dev = every.at(order[: options.dev_rows])
        train = every.at(order[options.dev_rows :][: options.rows])
        for setting in options.settings:
            key = {"set": name, "encoder": options.encoder, "training_rows": len(train.labels),
                   "setting": setting, "seed": seed}  # fmt: skip
            if not known(FILE, key | config):
                cell = score(upper, train, dev, len(data.classes), key, options.passes)
                append_cell(FILE, key | config | cell | facts)


def score(
    upper: UpperLayers, train: Part, dev: Part, classes: int, key: dict[str, Any], passes: int
) -> dict[str, object]:
    """Train one setting, and return its figures."""
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=upper.names())
    steps = round(passes * len(train.labels) / BATCH)
    training = Training(steps, RATE, key["seed"], **SETTINGS[key["setting"]])
    answer = train_adapters(upper, config, train, dev, classes, training)
    predicted = answer.logits.argmax(axis=1)
    accuracy = float((predicted == dev.labels).mean())
    f1 = float(f1_score(dev.labels, predicted, average="macro", labels=np.unique(dev.labels)))
    print(*key.values(), f"{accuracy:.4f}", f"{f1:.4f}", f"{answer.seconds:.0f} s", flush=True)
    return {
        "accuracy": f"{accuracy:.4f}", "macro_f1": f"{f1:.4f}", "rows": len(dev.labels),
        "parameters": answer.parameters, "seconds": f"{answer.seconds:.1f}",
    }  # fmt: skip


def table(cells: list[dict[str, str]]) -> Iterator[str]:
    """Yield a table in Markdown: scores, and differences within a seed to the plain setting of the fewest passes."""
    yield "| set, training rows | setting, passes | accuracy | difference (seeds) | macro F1 | difference (seeds) |"
    yield "|---|---|---:|---:|---:|---:|"
    for name, rows in dict.fromkeys((cell["set"], cell["training_rows"]) for cell in cells):
        here = [cell for cell in cells if (cell["set"], cell["training_rows"]) == (name, rows)]
        fewest = min(here, key=lambda cell: int(cell["passes"]))["passes"]
        plain = {cell["seed"]: cell for cell in here if is_cell(cell, PLAIN, fewest)}
        for setting, passes in dict.fromkeys((cell["setting"], cell["passes"]) for cell in here):
            group = [cell for cell in here if is_cell(cell, setting, passes)]
            columns = [f"{SETS[name][0]}, {int(rows):,}", f"{setting}, {passes}"]
            for score in ("accuracy", "macro_f1"):
                values = {cell["seed"]: 100 * float(cell[score]) for cell in group}
                differences = [
                    value - 100 * float(plain[seed][score]) for seed, value in values.items() if seed in plain
                ]
                columns.append(f"{np.mean(list(values.values())):.1f}")
                is_base = (setting, passes) == (PLAIN, fewest)
                columns.append("" if is_base or not differences else paired(differences))
            yield "| " + " | ".join(columns) + " |"


def is_cell(cell: dict[str, str], setting: str, passes: str) -> bool:
    """Return whether a cell has this setting and number of passes."""
    return (cell["setting"], cell["passes"]) == (setting, passes)


if __name__ == "__main__":
    main()
