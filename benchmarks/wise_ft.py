"""Compares shares of a training's change (WiSE-FT) with the whole of it, on rows held out of the training rows.

    python -m benchmarks.wise_ft --sets agnews r8 newsgroups20 --agnews FOLDER --per-class 8 32

A classifier of a few labels begins as a probe of the frozen encoder, and is trained: upper layers of MiniLM, LoRA of
rank 16 on every matrix, mean of the last states, names of the labels below 32 a class, as `auto` has it. It answers the
held-out rows as the probe, as what was trained, and with shares of the change. Cells are appended to
benchmarks/wise_ft.csv with processor and commit, and one that the file has is not computed again. No test row is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from peft import LoraConfig
from sklearn.metrics import f1_score

from benchmarks.accuracy.sets import AGNEWS, SETS, load
from benchmarks.cells import append_cell, known, machine_facts, paired
from benchmarks.label_names import RANK, RATE, read
from benchmarks.upper_layers import (
    Part,
    Training,
    UpperLayers,
    development,
    drawn,
    run_study,
    study_parser,
    train_adapters,
)
from submillion.auto.rules import NAMED, steps_for
from submillion.fit.head_start import fit_probe
from submillion.fit.label_names import LabelNames

FILE = Path(__file__).with_name("wise_ft.csv")
SHARES = (0.5, 0.75)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the missing cells, and print the table."""
    parser = study_parser(
        "Compare shares of a training.", [AGNEWS, "r8", "newsgroups20"], max_tokens=64, seeds=3
    )
    parser.set_defaults(layers=3)
    parser.add_argument("--per-class", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--dev-rows", type=int, default=600)
    run_study(parser.parse_args(arguments), FILE, measure, table)


def measure(name: str, options: argparse.Namespace) -> None:
    """Compute the cells of one data set."""
    data = load(name, options.agnews)
    upper = UpperLayers(options.encoder, options.layers, options.max_tokens)
    (held_out,), pool = development(data, options.dev_rows, 1)
    dev, facts = upper.states(held_out), machine_facts()
    config = {"layers": options.layers, "max_tokens": options.max_tokens}
    for seed in range(options.seeds):
        for size in options.per_class:
            key = {"set": name, "encoder": options.encoder, "size": size, "seed": seed}
            if known(FILE, key | config):
                continue
            train = upper.states(pool.at(drawn(np.array(pool.labels), size, seed).tolist()))
            names = read(upper, data.classes) if size < NAMED else None
            append_cell(FILE, key | config | score(upper, train, dev, names, seed) | facts)


def score(
    upper: UpperLayers, train: Part, dev: Part, names: LabelNames | None, seed: int
) -> dict[str, object]:
    """Train once; return accuracy and macro F1 of the probe, of what was trained, and of each share."""
    classes, features = int(dev.labels.max()) + 1, upper.features(train)
    if names is not None and not names.agreement(features, train.labels)["used"]:
        names = None
    probe = fit_probe(features, train.labels, classes, seed, names=names)
    logits = {"probe": upper.features(dev) @ probe.weight.T + probe.bias}
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=upper.names())
    training = Training(steps_for(len(train.labels), 32), RATE, seed, names=names, shares=SHARES)
    answer = train_adapters(upper, config, train, dev, classes, training)
    logits |= {"trained": answer.logits} | {
        f"share {share}": values for share, values in answer.interpolated.items()
    }
    found: dict[str, object] = {"rows": len(dev.labels)}
    for setting, values in logits.items():
        predicted = values.argmax(axis=1)
        found[setting] = f"{(predicted == dev.labels).mean():.4f}"
        found[f"{setting}, macro F1"] = f"{f1_score(dev.labels, predicted, average='macro'):.4f}"
    print(*found.values(), flush=True)
    return found


def table(cells: list[dict[str, str]]) -> Iterator[str]:
    """Yield a table in Markdown: accuracy of probe and training, and what the shares change within a seed."""
    others = ["probe", *(f"share {share}" for share in SHARES)]
    yield "| set, labels a class | trained | " + " | ".join(f"{other} | macro F1" for other in others) + " |"
    yield "|---|---:|" + "---:|---:|" * len(others)
    places = dict.fromkeys((cell["set"], cell["size"]) for cell in cells)
    for name, size in places:
        here = [cell for cell in cells if (cell["set"], cell["size"]) == (name, size)]
        yield "| " + " | ".join([f"{SETS[name][0]}, {size}", *_figures(here, others)]) + " |"
    if len(places) > 1:
        yield "| " + " | ".join(["all of them", *_figures(cells, others)]) + " |"


def _figures(cells: list[dict[str, str]], others: list[str]) -> Iterator[str]:
    """Yield the mean accuracy of the training, and the differences to it in points."""
    yield f"{100 * np.mean([float(cell['trained']) for cell in cells]):.1f}"
    for other in others:
        for figure in ("", ", macro F1"):
            yield paired(
                [100 * (float(cell[other + figure]) - float(cell["trained" + figure])) for cell in cells]
            )


if __name__ == "__main__":
    main()
