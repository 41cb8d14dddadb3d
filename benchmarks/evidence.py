"""Measures the settings that `auto` decides between, on development rows drawn from training rows.

    python -m benchmarks.evidence --agnews FOLDER --encoder minilm --per-class 8 --seeds 3

Every cell is one training by `submillion.train("auto", ...)` with the setting's overrides, scored on development rows
that are the same in all cells; no test row is read. Cells are appended to `src/submillion/auto/evidence.csv`, with
processor and commit; a cell that the file has is not computed again.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import submillion as sm
from benchmarks.cells import append_cell, machine_facts, read_cells
from submillion import auto

FILE = Path(auto.__file__).with_name("evidence.csv")
COLUMNS = (
    "set", "encoder", "labels_per_class", "setting", "overrides", "seed", "accuracy", "rows", "seconds",
    "processor", "commit",
)  # fmt: skip
DEV_ROWS = 600
SPLIT_SEED = 0
SETTINGS = {
    "auto": [],
    "probe without training": ["train.steps=0"],
    "first token": ["head.pooling=first"],
    "random head": ["head.start=random"],
    "four times the steps": ["train.steps={4}"],
    "a third of the rate": ["train.learning_rate=3e-4"],
    "query and value": ["lora.targets=query,value"],
}
"""Overrides by name; `{N}` becomes N times the steps that auto decides."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cells that are missing, and print the mean accuracy of each setting."""
    parser = argparse.ArgumentParser(description="Measure the settings that auto decides between.")
    parser.add_argument("--agnews", type=Path, required=True, help="folder with AG News' train.csv")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--per-class", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    options = parser.parse_args(arguments)
    with (options.agnews / "train.csv").open(newline="", encoding="utf-8") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    with tempfile.TemporaryDirectory(prefix="evidence-") as folder:
        measure(rows, options, Path(folder))
    for line in summary(read_cells(FILE)):
        print(line)


def measure(rows: list[tuple[str, str]], options: argparse.Namespace, folder: Path) -> None:
    """Train and score every cell that the file lacks."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    dev, pool = [rows[at] for at in order[:DEV_ROWS]], [rows[at] for at in order[DEV_ROWS:]]
    dev_file = folder / "dev.csv"
    with dev_file.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *dev])
    known = {tuple(row[name] for name in (*COLUMNS[:4], "seed")) for row in read_cells(FILE)}
    facts = machine_facts()
    for per_class in options.per_class:
        for seed in range(options.seeds):
            sample = list(drawn(pool, per_class, seed))
            texts, labels = [text for text, _ in sample], [label for _, label in sample]
            for setting in options.settings:
                cell = ("AG News", options.encoder, str(per_class), setting, str(seed))
                if cell in known:
                    continue
                base = [f"encoder.source={options.encoder}", f"seed={seed}", "data.folds=2"]
                steps = (
                    sm.decide(texts=texts, labels=labels, overrides=base, quiet=True).recipe.train.steps or 0
                )
                overrides = [item.replace("{4}", str(4 * steps)) for item in SETTINGS[setting]]
                began = time.perf_counter()
                run = sm.train(
                    "auto", folder / "run", texts=texts, labels=labels, overrides=base + overrides,
                    overwrite=True, report=False, quiet=True,
                )  # fmt: skip
                seconds = time.perf_counter() - began
                scores = run.evaluate(dev_file, name="dev", quiet=True)
                values = (*cell[:4], " ".join(overrides), seed, f"{scores['accuracy']:.4f}", DEV_ROWS)
                append_cell(
                    FILE, dict(zip(COLUMNS, (*values, f"{seconds:.1f}", *facts.values()), strict=True))
                )


def drawn(pool: list[tuple[str, str]], per_class: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield this many rows of each class, drawn with the seed."""
    left = dict.fromkeys(sorted({label for _, label in pool}), per_class)
    for at in np.random.default_rng(seed + 1).permutation(len(pool)):
        if left[pool[at][1]]:
            left[pool[at][1]] -= 1
            yield pool[at]


def summary(rows: list[dict[str, str]]) -> Iterator[str]:
    """Yield one line per encoder, size and setting: mean accuracy, and the mean difference to auto within a seed."""
    cells: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        key = (row["encoder"], row["labels_per_class"], row["setting"])
        cells.setdefault(key, {})[row["seed"]] = 100 * float(row["accuracy"])
    for (encoder, size, setting), scores in cells.items():
        auto_scores = cells.get((encoder, size, "auto"), {})
        differences = [scores[seed] - auto_scores[seed] for seed in scores if seed in auto_scores]
        yield (
            f"{encoder:12} {size:>5} {setting:24} {np.mean(list(scores.values())):6.2f} "
            f"{np.mean(differences):+6.2f} of {len(scores)} seeds"
        )


if __name__ == "__main__":
    main()
