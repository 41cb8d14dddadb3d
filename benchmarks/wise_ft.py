"""Compares shares of a training's change (WiSE-FT) with the whole of it, on rows held out of the training rows.

    python -m benchmarks.wise_ft --sets agnews r8 newsgroups20 --agnews FOLDER --per-class 8 32

A classifier of a few labels begins as a probe of the frozen encoder, and is trained: upper layers of MiniLM or MPNet,
LoRA of rank 16 on every matrix, mean of the last states, names of the labels below 32 a class, as `auto` has it. It
answers the held-out rows as the probe, as what was trained, and with shares of the change. Cells are appended to
benchmarks/wise_ft.csv with processor and commit, and one that the file has is not computed again. No test row is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from peft import LoraConfig
from sklearn.metrics import f1_score

from benchmarks.accuracy.sets import AGNEWS, SETS
from benchmarks.cells import append_cell, known, machine_facts, paired
from benchmarks.label_names import RANK, RATE, agreeing, read
from benchmarks.study import Sample, run_study, samples, size_text, study_parser
from benchmarks.upper_layers import Training, train_adapters
from submillion.auto.rules import NAMED, steps_for

FILE = Path(__file__).with_name("wise_ft.csv")
PROBE = 0.0
"""The share that leaves nothing of the training."""
SHARES = (0.5, 0.75)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the missing cells, and print the table."""
    parser = study_parser(
        "Compare shares of a training.", [AGNEWS, "r8", "newsgroups20"], seeds=3, max_tokens=64
    )
    parser.set_defaults(layers=3)
    parser.add_argument("--per-class", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--dev-rows", type=int, default=600)
    run_study(parser.parse_args(arguments), FILE, measure, table)


def measure(name: str, options: argparse.Namespace) -> None:
    """Compute the cells of one data set."""
    facts, config = machine_facts(), {"layers": options.layers, "max_tokens": options.max_tokens}
    for sample in samples(name, options):
        key = {"set": name, "encoder": options.encoder, "size": sample.size, "seed": sample.seed}
        if not known(FILE, key | config):
            append_cell(FILE, key | config | score(sample) | facts)


def score(sample: Sample) -> dict[str, object]:
    """Train once; return accuracy and macro F1 of the probe, of what was trained, and of each share."""
    upper, train, dev, seed = sample.upper, sample.train, sample.dev, sample.seed
    names = None
    if sample.size < NAMED:
        names = agreeing(read(upper, sample.classes), upper.features(train), train.labels)
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=upper.names())
    steps = steps_for(len(train.labels), 32)
    training = Training(steps, RATE, seed, names=names, shares=(PROBE, *SHARES))
    answer = train_adapters(upper, config, train, dev, int(dev.labels.max()) + 1, training)
    logits = {"probe": answer.interpolated[PROBE], "trained": answer.logits}
    logits |= {f"share {share}": answer.interpolated[share] for share in SHARES}
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
    yield (
        "| set, labels a class, encoder | trained | "
        + " | ".join(f"{other} | macro F1" for other in others)
        + " |"
    )
    yield "|---|---:|" + "---:|---:|" * len(others)
    places = dict.fromkeys((cell["set"], cell["size"], cell["encoder"]) for cell in cells)
    for place in places:
        here = [cell for cell in cells if (cell["set"], cell["size"], cell["encoder"]) == place]
        name = f"{SETS[place[0]][0]}, {size_text(place[1])}, {place[2]}"
        yield "| " + " | ".join([name, *_figures(here, others)]) + " |"
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
