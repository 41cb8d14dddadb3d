"""Compares one adapter with the average of several smaller ones, on rows held out of the training rows.

    python -m benchmarks.ensembles --sets agnews --agnews FOLDER --per-class 16 64 --members 3

One LoRA of rank r; k of rank r / k, whose probabilities are averaged; and one of rank r with k times the steps, which
takes as long. Top layers of MiniLM, every matrix, mean of the last states, a linear head that begins as a probe. Cells
are appended to benchmarks/ensembles.csv with processor and commit, and one that the file has is not computed again. No
test row is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peft import LoraConfig

from benchmarks.accuracy.sets import AGNEWS, SETS
from benchmarks.cells import append_cell, known, machine_facts, paired
from benchmarks.study import run_study, samples, study_parser
from benchmarks.upper_layers import Answer, Part, Training, UpperLayers, train_adapters
from submillion.auto.rules import steps_for
from submillion.model.infer import probabilities_of

FILE = Path(__file__).with_name("ensembles.csv")
RANK = 16
RATE = 1e-3
ONE = "one"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the missing cells, and print the table."""
    parser = study_parser("Compare one adapter with averages of several.", [AGNEWS], seeds=5, max_tokens=48)
    parser.add_argument(
        "--per-class", type=int, nargs="+", default=[16, 64], help="1000 and more: rows in all"
    )
    parser.add_argument("--members", type=int, nargs="+", default=[3])
    parser.add_argument("--dev-rows", type=int, default=800)
    run_study(parser.parse_args(arguments), FILE, measure, table)


def measure(name: str, options: argparse.Namespace) -> None:
    """Compute the cells of one data set."""
    facts = {"layers": options.layers, "max_tokens": options.max_tokens} | machine_facts()
    for sample in samples(name, options):
        for setting, k in settings(options.members):
            key = {"set": name, "encoder": options.encoder, "size": sample.size, "setting": setting,
                   "members": k, "seed": sample.seed}  # fmt: skip
            if not known(FILE, key):
                cell = score(sample.upper, sample.train, sample.dev, len(sample.classes), key)
                append_cell(FILE, key | cell | facts)


def settings(members: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Yield one adapter, then per number of members their average and one adapter with as many times the steps."""
    yield ONE, 1
    for k in members:
        yield "average", k
        yield "longer", k


def score(upper: UpperLayers, train: Part, dev: Part, classes: int, key: dict[str, Any]) -> dict[str, object]:
    """Train the adapters of one setting, and return their figures."""
    setting, k, seed = key["setting"], key["members"], key["seed"]
    average, longer = setting == "average", setting == "longer"
    rank = RANK // k if average else RANK
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=upper.names())
    steps = steps_for(len(train.labels), 32) * (k if longer else 1)
    answers: list[Answer] = [
        train_adapters(upper, config, train, dev, classes, Training(steps, RATE, 1_000 * member + seed))
        for member in range(k if average else 1)
    ]
    shares = [probabilities_of(answer.logits) for answer in answers]
    right = np.mean(shares, axis=0).argmax(axis=1) == dev.labels
    alone = [float((share.argmax(axis=1) == dev.labels).mean()) for share in shares]
    seconds = sum(answer.seconds for answer in answers)
    print(
        *key.values(),
        f"{right.mean():.4f}",
        [round(value, 4) for value in alone],
        f"{seconds:.0f} s",
        flush=True,
    )
    return {
        "accuracy": f"{right.mean():.4f}", "mean_of_members": f"{np.mean(alone):.4f}", "rows": len(dev.labels),
        "parameters": sum(answer.parameters for answer in answers), "seconds": f"{seconds:.1f}",
    }  # fmt: skip


def table(cells: list[dict[str, str]]) -> Iterator[str]:
    """Yield a table in Markdown: differences within a seed to one adapter, and of an average to its members alone."""
    yield "| set, labels a class | setting | parameters | accuracy | to one adapter (seeds) | to its members (seeds) |"
    yield "|---|---|---:|---:|---:|---:|"
    titles = {"average": "{} adapters of rank {}, averaged", "longer": "one of rank 16, {} times the steps"}
    for name, size in dict.fromkeys((cell["set"], cell["size"]) for cell in cells):
        here = [cell for cell in cells if (cell["set"], cell["size"]) == (name, size)]
        ones = {cell["seed"]: percent(cell, "accuracy") for cell in here if cell["setting"] == ONE}
        for setting, k in dict.fromkeys((cell["setting"], int(cell["members"])) for cell in here):
            group = [cell for cell in here if (cell["setting"], cell["members"]) == (setting, str(k))]
            title = titles.get(setting, "one adapter of rank 16").format(k, RANK // k)
            accuracy = f"{np.mean([percent(cell, 'accuracy') for cell in group]):.1f}"
            to_one = [
                percent(cell, "accuracy") - ones[cell["seed"]] for cell in group if cell["seed"] in ones
            ]
            gains = [
                percent(cell, "accuracy") - percent(cell, "mean_of_members")
                for cell in group
                if setting == "average"
            ]
            columns = [
                f"{SETS[name][0]}, {size}", title, f"{int(group[0]['parameters']):,}", accuracy,
                paired(to_one) if setting != ONE and to_one else "",
                paired(gains) if gains else "",
            ]  # fmt: skip
            yield "| " + " | ".join(columns) + " |"


def percent(cell: dict[str, str], score: str) -> float:
    """Return a score of a cell in percent."""
    return 100 * float(cell[score])


if __name__ == "__main__":
    main()
