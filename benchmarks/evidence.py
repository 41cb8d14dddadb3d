"""Measures the settings that `auto` decides between, on rows held out of the training rows.

    python -m benchmarks.evidence --agnews FOLDER --encoder minilm --per-class 8 32 --seeds 3

Every cell is one training by `submillion.train("auto", ...)` with the setting's overrides and two folds in place of
five, scored on held-out rows that are the same in all cells; no test row is read. Cells are appended to
`src/submillion/auto/evidence.csv`, with processor and commit; a cell that the file has is not computed again.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score

import submillion as sm
from benchmarks.accuracy.sets import AGNEWS, SETS, LabelledSet, Rows, load
from benchmarks.cells import append_cell, known, machine_facts, paired
from benchmarks.study import development, drawn, run_study, size_text, study_parser
from submillion import auto
from submillion.auto.efforts import FEW_ROWS

FILE = Path(auto.__file__).with_name("evidence.csv")
COLUMNS = (
    "set", "encoder", "labels_per_class", "setting", "overrides", "seed", "accuracy", "macro_f1", "rows", "seconds",
    "processor", "commit",
)  # fmt: skip
AUTO = "auto"
SETTINGS = {
    AUTO: [],
    "probe without training": ["train.steps=0"],
    "first token": ["head.pooling=first"],
    "plain mean": ["head.normalize=false"],
    "random head": ["head.start=random"],
    "no names of the labels": ["head.label_names=false"],
    "scaled mean": ["head.normalize=true"],
    "names of the labels": ["head.label_names=true"],
    "macro F1": ["train.objective=macro_f1"],
    "all of the change": ["train.wise_ft=null"],
    "all layers": ["lora.layers=all"],
    "eight layers": ["lora.layers=top-8"],
    "two layers": ["lora.layers=top-2"],
    "one layer": ["lora.layers=top-1"],
    "half of the steps": ["train.steps={0.5}"],
    "twice the steps": ["train.steps={2}"],
    "four times the steps": ["train.steps={4}"],
    "twice the rate": ["train.learning_rate=2e-3"],
    "half of the rate": ["train.learning_rate=5e-4"],
    "a third of the rate": ["train.learning_rate=3e-4"],
    "query and value": ["lora.targets=query,value"],
    "averaged over the last half": ["train.average_from=0.5"],
    "smoothing 0.1": ["train.label_smoothing=0.1"],
    "R-Drop, dropout 0.1": ["train.r_drop=1", "lora.dropout=0.1", "encoder.dropout=0.1"],
}
"""Overrides by name; `{N}` becomes N times the steps that auto decides."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cells that are missing, and print the table."""
    sets = [AGNEWS, "sms", "r8", "r52", "newsgroups20"]
    parser = study_parser("Measure the settings that auto decides between.", sets, seeds=3)
    parser.add_argument("--per-class", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--dev-rows", type=int, default=600)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    run_study(parser.parse_args(arguments), FILE, measure, table)


def measure(name: str, options: argparse.Namespace) -> None:
    """Train and score every cell of a data set that the file lacks."""
    data, facts = load(name, options.agnews), machine_facts()
    (dev,), pool = development(data, options.dev_rows, 1)
    for seed, size, setting in product(range(options.seeds), options.per_class, options.settings):
        cell = {"set": name, "encoder": options.encoder, "labels_per_class": size, "setting": setting,
                "seed": seed, "rows": len(dev.texts)}  # fmt: skip
        if known(FILE, cell):
            continue
        train = pool.at(drawn(np.array(pool.labels), size, seed).tolist())
        base = [f"encoder.source={options.encoder}", f"seed={seed}", "data.test=none"]
        if len(train.texts) < FEW_ROWS:  # with more rows, a number of folds would choose cross-validation
            base.append("data.folds=2")
        own = changes(setting, data, train, base)
        cell |= {"overrides": " ".join(own)} | score(data, train, dev, base + own) | facts
        append_cell(FILE, {column: cell[column] for column in COLUMNS})
        print(*cell.values(), flush=True)


def changes(setting: str, data: LabelledSet, train: Rows, base: Sequence[str]) -> list[str]:
    """Return the overrides of a setting for some training rows."""
    overrides = SETTINGS[setting]
    if not any("{" in item for item in overrides):
        return overrides
    labels = [data.classes[label] for label in train.labels]
    steps = sm.decide(texts=train.texts, labels=labels, overrides=base, quiet=True).recipe.train.steps or 0
    return [re.sub(r"\{(.+)\}", lambda of: str(round(float(of[1]) * steps)), item) for item in overrides]


def score(data: LabelledSet, train: Rows, dev: Rows, overrides: Sequence[str]) -> dict[str, object]:
    """Train once; return accuracy and macro F1 of the held-out rows, and the processor seconds of the training."""
    began = time.process_time()
    with tempfile.TemporaryDirectory(prefix="evidence-") as folder:
        run = sm.train(
            "auto",
            Path(folder) / "run",
            texts=train.texts,
            labels=[data.classes[label] for label in train.labels],
            overrides=list(overrides),
            report=False,
            quiet=True,
        )
        seconds = time.process_time() - began
        answers = run.predict(dev.texts)
    numbers = {name: number for number, name in enumerate(data.classes)}
    predicted, truth = np.array([numbers[answer] for answer in answers]), np.array(dev.labels)
    return {
        "accuracy": f"{(predicted == truth).mean():.4f}",
        "macro_f1": f"{f1_score(truth, predicted, average='macro'):.4f}",
        "seconds": f"{seconds:.1f}",
    }


def table(cells: list[dict[str, str]]) -> Iterator[str]:
    """Yield a table in Markdown: what auto reaches, and what another setting changes within a seed."""
    yield "| set, labels a class, encoder | setting | accuracy | macro F1 | seconds |"
    yield "|---|---|---:|---:|---:|"
    places = dict.fromkeys((cell["set"], cell["labels_per_class"], cell["encoder"]) for cell in cells)
    for place in places:
        here = [cell for cell in cells if (cell["set"], cell["labels_per_class"], cell["encoder"]) == place]
        yield from _lines(f"{SETS[place[0]][0]}, {size_text(place[1])}, {place[2]}", here)
    if len(places) > 1:
        yield from _lines("all of them", cells)


def _lines(name: str, cells: list[dict[str, str]]) -> Iterator[str]:
    """Yield the line of auto, and one of the differences to it for each other setting; seconds are the processor's."""
    found: dict[str, dict[tuple[str, ...], dict[str, str]]] = {}
    for cell in cells:
        # Other held-out rows leave other training rows: such cells are no pair.
        pair = tuple(cell[column] for column in ("set", "encoder", "labels_per_class", "seed", "rows"))
        found.setdefault(cell["setting"], {})[pair] = cell
    own = found.get(AUTO, {})
    if own:
        means = [
            100 * np.mean([float(cell[figure]) for cell in own.values()])
            for figure in ("accuracy", "macro_f1")
        ]
        seconds = np.mean([float(cell["seconds"]) for cell in own.values() if cell["seconds"]])
        yield f"| {name} | {AUTO} | {means[0]:.1f} ({len(own)}) | {means[1]:.1f} | {seconds:.0f} |"
    for setting, others in found.items():
        pairs = [(own[pair], cell) for pair, cell in others.items() if pair in own and setting != AUTO]
        if pairs:
            columns = [
                paired([100 * (float(other[figure]) - float(base[figure])) for base, other in pairs])
                for figure in ("accuracy", "macro_f1")
            ]
            yield f"| {name} | {setting} | " + " | ".join([*columns, _slower(pairs)]) + " |"


def _slower(pairs: Sequence[tuple[dict[str, str], dict[str, str]]]) -> str:
    """Return how many times the seconds of auto a setting takes; empty if no pair ran on one kind of processor.

    A cell whose training was killed and continued has no seconds.
    """
    alike = [
        (own, other)
        for own, other in pairs
        if own["processor"] == other["processor"] and own["seconds"] and other["seconds"]
    ]
    if not alike:
        return ""
    of_auto, of_setting = (sum(float(cell["seconds"]) for cell in side) for side in zip(*alike, strict=True))
    return f"{of_setting / of_auto:.2f} times"


if __name__ == "__main__":
    main()
