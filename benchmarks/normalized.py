"""Compares heads that read the mean of the last states scaled to length 1, on rows held out of the training rows.

    python -m benchmarks.normalized --sets sms agnews r8 newsgroups20 --agnews FOLDER --per-class 8 32

`auto` trains on a few labels with `head.normalize` and without it, and answers the held-out rows. Its texts are cut at
128 tokens, and it has two folds in place of five, which changes no answer. Cells are appended to
benchmarks/normalized.csv with processor and commit, and one that the file has is not computed again. No test row is
read.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score

import submillion
from benchmarks.accuracy.sets import AGNEWS, SETS, LabelledSet, Rows, load
from benchmarks.cells import append_cell, known, machine_facts, paired
from benchmarks.study import development, drawn, run_study, study_parser

FILE = Path(__file__).with_name("normalized.csv")
PLAIN, NORMALIZED = "plain", "normalized"
FIGURES = ("accuracy", "macro F1")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the missing cells, and print the table."""
    parser = study_parser(
        "Compare scaled means with plain ones.",
        ["sms", AGNEWS, "r8", "newsgroups20"],
        max_tokens=128,
        seeds=3,
    )
    parser.add_argument("--per-class", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--dev-rows", type=int, default=600)
    run_study(parser.parse_args(arguments), FILE, measure, table)


def measure(name: str, options: argparse.Namespace) -> None:
    """Compute the cells of one data set."""
    data, facts = load(name, options.agnews), machine_facts()
    (dev,), pool = development(data, options.dev_rows, 1)
    for seed in range(options.seeds):
        for size in options.per_class:
            train = pool.at(drawn(np.array(pool.labels), size, seed).tolist())
            for setting in (PLAIN, NORMALIZED):
                key = {"set": name, "encoder": options.encoder, "size": size, "seed": seed,
                       "max_tokens": options.max_tokens, "setting": setting}  # fmt: skip
                if not known(FILE, key):
                    append_cell(FILE, key | score(data, train, dev, key) | facts)


def score(data: LabelledSet, train: Rows, dev: Rows, key: dict[str, object]) -> dict[str, object]:
    """Train once; return accuracy and macro F1 of the held-out rows."""
    settings = {
        "encoder.source": key["encoder"],
        "seed": key["seed"],
        "head.normalize": str(key["setting"] == NORMALIZED).lower(),
        "data.max_length": key["max_tokens"],
        "data.folds": 2,
    }
    with tempfile.TemporaryDirectory() as folder:
        run = submillion.train(
            "auto",
            Path(folder) / "run",
            texts=train.texts,
            labels=[data.classes[label] for label in train.labels],
            overrides=[f"{field}={value}" for field, value in settings.items()],
            report=False,
            quiet=True,
        )
        answers = run.predict(dev.texts)
    numbers = {name: number for number, name in enumerate(data.classes)}
    predicted, truth = np.array([numbers[answer] for answer in answers]), np.array(dev.labels)
    found = {
        "rows": len(truth),
        "accuracy": f"{(predicted == truth).mean():.4f}",
        "macro F1": f"{f1_score(truth, predicted, average='macro'):.4f}",
    }
    print(*key.values(), *found.values(), flush=True)
    return found


def table(cells: list[dict[str, str]]) -> Iterator[str]:
    """Yield a table in Markdown: the plain mean, and the differences that length 1 makes within a seed."""
    yield "| set, labels a class | accuracy | with length 1 | macro F1 | with length 1 |"
    yield "|---|---:|---:|---:|---:|"
    places = dict.fromkeys((cell["set"], cell["size"]) for cell in cells)
    for name, size in places:
        here = [cell for cell in cells if (cell["set"], cell["size"]) == (name, size)]
        yield "| " + " | ".join([f"{SETS[name][0]}, {size}", *_figures(here)]) + " |"
    if len(places) > 1:
        yield "| " + " | ".join(["all of them", *_figures(cells)]) + " |"


def _figures(cells: list[dict[str, str]]) -> Iterator[str]:
    """Yield the mean of each figure, and the differences to it in points."""
    found = {(cell["set"], cell["size"], cell["seed"], cell["setting"]): cell for cell in cells}
    plain = {place[:3]: cell for place, cell in found.items() if place[3] == PLAIN}
    for figure in FIGURES:
        yield f"{100 * np.mean([float(cell[figure]) for cell in plain.values()]):.1f}"
        yield paired(
            [
                100 * (float(found[*place, NORMALIZED][figure]) - float(cell[figure]))
                for place, cell in plain.items()
                if (*place, NORMALIZED) in found
            ]
        )


if __name__ == "__main__":
    main()
