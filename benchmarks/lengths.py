"""Compares how many tokens of a text a frozen encoder reads, on rows held out of the training rows.

    python -m benchmarks.lengths --sets r8 newsgroups20

The probe that `auto` begins with is fitted to a few texts a class, cut at each length, and to the names of the labels
below 32. It reads the mean of the last states, plain or scaled to length 1, and answers the held-out rows, cut alike.
Cells are appended to benchmarks/lengths.csv with processor and commit, and one that the file has is not computed again.
No test row is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.accuracy.features import mean_states
from benchmarks.accuracy.sets import AGNEWS, SETS, load
from benchmarks.cells import append_cell, known, machine_facts, paired
from benchmarks.encoders import catalog_folder
from benchmarks.label_names import agreeing
from benchmarks.study import development, drawn, run_study, size_text, study_parser
from submillion.auto.rules import NAMED
from submillion.data.label_texts import label_texts
from submillion.fit.head_start import fit_probe
from submillion.fit.label_names import LabelNames

FILE = Path(__file__).with_name("lengths.csv")
LENGTHS = (64, 128, 256, 512)
USUAL = 128
"""The number of tokens that the others are compared with."""
PLAIN, NORMALIZED = "plain", "normalized"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the missing cells, and print the table."""
    parser = study_parser("Compare lengths of texts.", ["r8", "newsgroups20", AGNEWS, "sms"], seeds=5)
    parser.add_argument("--per-class", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--dev-rows", type=int, default=600)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    run_study(parser.parse_args(arguments), FILE, measure, table)


def measure(name: str, options: argparse.Namespace) -> None:
    """Compute the cells of one data set."""
    data, facts = load(name, options.agnews), machine_facts()
    (dev,), pool = development(data, options.dev_rows, 1)
    labels, names = np.array(pool.labels), label_texts(data.classes)
    picked = {
        (size, seed): drawn(labels, size, seed) for seed in range(options.seeds) for size in options.per_class
    }
    union = np.unique(np.concatenate(list(picked.values())))
    for length in options.lengths:
        keys = [
            {"set": name, "encoder": options.encoder, "size": size, "seed": seed, "max_tokens": length,
             "setting": setting}
            for size, seed in picked
            for setting in (PLAIN, NORMALIZED)
        ]  # fmt: skip
        missing = [key for key in keys if not known(FILE, key)]
        if not missing:
            continue
        read = [
            means(options.encoder, texts, length)
            for texts in (pool.at(union.tolist()).texts, dev.texts, names)
        ]
        for key in missing:
            of_pool, of_dev, of_names = map(scaled, read) if key["setting"] == NORMALIZED else read
            size, seed = key["size"], key["seed"]
            rows = picked[size, seed]
            features, truth = of_pool[np.searchsorted(union, rows)], labels[rows]
            label_names = None
            if size < NAMED:
                label_names = agreeing(LabelNames.of(of_names, len(data.classes)), features, truth)
            probe = fit_probe(features, truth, len(data.classes), seed, names=label_names)
            right = (of_dev @ probe.weight.T + probe.bias).argmax(axis=1) == np.array(dev.labels)
            append_cell(FILE, key | {"rows": len(right), "accuracy": f"{right.mean():.4f}"} | facts)


def means(encoder: str, texts: Sequence[str], max_tokens: int) -> np.ndarray:
    """Return the mean of the last states of each text, cut at some tokens, float32 [N, D]."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    found, _ = mean_states(
        catalog_folder(encoder), [texts[row] for row in order], max_tokens, normalize=False
    )
    return found[np.argsort(order)]


def scaled(features: np.ndarray) -> np.ndarray:
    """Return features [N, D] scaled to length 1."""
    of_length_1: np.ndarray = features / np.linalg.norm(features, axis=1, keepdims=True)
    return of_length_1


def table(cells: list[dict[str, str]]) -> Iterator[str]:
    """Yield a table in Markdown: plain means, what length 1 changes, and from there what other numbers of tokens do."""
    others = sorted({int(cell["max_tokens"]) for cell in cells} - {USUAL})
    columns = [f"plain mean, {USUAL} tokens", "length 1", *(f"{length} tokens" for length in others)]
    yield "| set, labels a class, encoder | " + " | ".join(columns) + " |"
    yield "|---|---:|---:|" + "---:|" * len(others)
    places = dict.fromkeys((cell["encoder"], cell["set"], cell["size"]) for cell in cells)
    for encoder, name, size in places:
        here = [
            cell for cell in cells if (cell["encoder"], cell["set"], cell["size"]) == (encoder, name, size)
        ]
        place = f"{SETS[name][0]}, {size_text(size)}, {encoder}"
        yield "| " + " | ".join([place, *_figures(here, others)]) + " |"
    if len(places) > 1:
        yield "| " + " | ".join(["all of them", *_figures(cells, others)]) + " |"


def _figures(cells: list[dict[str, str]], others: list[int]) -> Iterator[str]:
    """Yield the mean accuracy of plain means, and the differences in points."""
    found: dict[tuple[int, str], dict[tuple[str, ...], float]] = {}
    for cell in cells:
        sample = tuple(cell[column] for column in ("encoder", "set", "size", "seed"))
        found.setdefault((int(cell["max_tokens"]), cell["setting"]), {})[sample] = 100 * float(
            cell["accuracy"]
        )
    plain, of_length_1 = found[USUAL, PLAIN], found.get((USUAL, NORMALIZED), {})
    yield f"{np.mean(list(plain.values())):.1f}"
    yield _change(plain, of_length_1)
    for length in others:
        yield _change(of_length_1, found.get((length, NORMALIZED), {}))


def _change(before: dict[tuple[str, ...], float], after: dict[tuple[str, ...], float]) -> str:
    """Return the mean difference within a sample; empty without a common one."""
    pairs = [after[sample] - value for sample, value in before.items() if sample in after]
    return paired(pairs) if pairs else ""


if __name__ == "__main__":
    main()
