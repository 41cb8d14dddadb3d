"""Compares classifiers that know the names of the labels with those that do not, on rows held out of the training rows.

    python -m benchmarks.label_names --sets agnews r8 newsgroups20 sms --agnews FOLDER

Each sample of training rows is scored as a probe of the frozen encoder and after training; upper layers of MiniLM, LoRA
of rank 16 on every matrix, mean of the last states. The names of the labels are rows of the probe in the setting
"names", and unrelated words take their place in the setting "words", where the check of `fit.label_names` should refuse
them. Cells are appended to benchmarks/label_names.csv with processor and commit, and one that the file has is not
computed again. No test row is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from peft import LoraConfig

from benchmarks.accuracy.sets import AGNEWS, SETS, Rows
from benchmarks.cells import append_cell, known, machine_facts, paired
from benchmarks.study import run_study, samples, study_parser
from benchmarks.upper_layers import Part, Training, UpperLayers, train_adapters
from submillion.auto.rules import steps_for
from submillion.data.label_texts import label_texts
from submillion.fit.head_start import fit_probe
from submillion.fit.label_names import LabelNames

FILE = Path(__file__).with_name("label_names.csv")
RANK, RATE = 16, 1e-3
PLAIN, NAMES, WORDS = "plain", "names", "words"
UNRELATED = (
    *("red", "blue", "green", "stone", "river", "paper", "chair", "window", "bottle", "garden", "yellow", "pencil"),
    *("silver", "copper", "table", "lamp", "carpet", "basket", "mirror", "candle", "north", "alpha", "first", "apple"),
    *("dog", "Monday", "low", "good", "yes", "other", "group", "unit", "block", "second", "beta", "south", "horse"),
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the missing cells, and print the table."""
    sets = [AGNEWS, "r8", "newsgroups20", "sms"]
    parser = study_parser("Compare probes with and without the names.", sets, seeds=5, max_tokens=64)
    parser.add_argument("--per-class", type=int, nargs="+", default=[2, 4, 8, 16, 32])
    parser.add_argument("--dev-rows", type=int, default=800)
    run_study(parser.parse_args(arguments), FILE, measure, table)


def measure(name: str, options: argparse.Namespace) -> None:
    """Compute the cells of one data set."""
    facts, config = machine_facts(), {"layers": options.layers, "max_tokens": options.max_tokens}
    for sample in samples(name, options):
        words = np.random.default_rng(sample.seed).permutation(UNRELATED)[: len(sample.classes)]
        for setting, texts in ((PLAIN, None), (NAMES, sample.classes), (WORDS, words.tolist())):
            key = {"set": name, "encoder": options.encoder, "size": sample.size, "setting": setting,
                   "seed": sample.seed}  # fmt: skip
            if not known(FILE, key | config):
                names = None if texts is None else read(sample.upper, texts)
                cell = score(sample.upper, sample.train, sample.dev, names, key)
                append_cell(FILE, key | config | cell | facts)


def read(upper: UpperLayers, names: Sequence[str]) -> LabelNames:
    """Return names as the encoder reads them."""
    texts = label_texts(names)
    return LabelNames.of(upper.features(upper.states(Rows(texts, [0] * len(texts)))), len(names))


def agreeing(names: LabelNames, features: np.ndarray, labels: np.ndarray) -> LabelNames | None:
    """Return names that agree with the features of the texts; None if they do not."""
    return names if names.agreement(features, labels)["used"] else None


def score(
    upper: UpperLayers, train: Part, dev: Part, names: LabelNames | None, key: dict[str, object]
) -> dict[str, object]:
    """Fit a probe, train from it unless the names are unrelated words, and return the figures."""
    classes, seed, features = int(dev.labels.max()) + 1, int(str(key["seed"])), upper.features(train)
    found: dict[str, object] = {"cosine": "", "used": ""}
    if names is not None:
        agreement = names.agreement(features, train.labels)
        found = {"cosine": f"{agreement['cosine']:.4f}", "used": agreement["used"]}
    probe = fit_probe(features, train.labels, classes, seed, names=names)
    alone = (upper.features(dev) @ probe.weight.T + probe.bias).argmax(axis=1) == dev.labels
    found |= {"probe": f"{alone.mean():.4f}", "trained": ""}
    if key["setting"] != WORDS:
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=upper.names())
        training = Training(steps_for(len(train.labels), 32), RATE, seed, names=names)
        answer = train_adapters(upper, config, train, dev, classes, training)
        found["trained"] = f"{(answer.logits.argmax(axis=1) == dev.labels).mean():.4f}"
    print(*key.values(), *found.values(), flush=True)
    return found | {"rows": len(dev.labels)}


def table(cells: list[dict[str, str]]) -> Iterator[str]:
    """Yield a table in Markdown: scores without names, and the differences that names and words make within a seed."""
    yield (
        "| set, labels a class | probe | with the names | trained | with the names | sets of names accepted "
        "| probe with unrelated words | sets of words accepted |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for name, size in dict.fromkeys((cell["set"], cell["size"]) for cell in cells):
        here = {
            setting: {
                cell["seed"]: cell
                for cell in cells
                if (cell["set"], cell["size"], cell["setting"]) == (name, size, setting)
            }
            for setting in (PLAIN, NAMES, WORDS)
        }
        plain = here[PLAIN].values()
        columns = [f"{SETS[name][0]}, {size}"]
        for figure in ("probe", "trained"):
            columns.append(f"{100 * np.mean([float(cell[figure]) for cell in plain]):.1f}")
            columns.append(gain(here[PLAIN], here[NAMES], figure))
        columns += [accepted(here[NAMES]), gain(here[PLAIN], here[WORDS], "probe"), accepted(here[WORDS])]
        yield "| " + " | ".join(columns) + " |"


def gain(plain: dict[str, dict[str, str]], other: dict[str, dict[str, str]], figure: str) -> str:
    """Return the mean difference of a figure within a seed, in points."""
    return paired(
        [100 * (float(other[seed][figure]) - float(plain[seed][figure])) for seed in plain if seed in other]
    )


def accepted(cells: dict[str, dict[str, str]]) -> str:
    """Return how many sets of names pass the check."""
    return f"{sum(cell['used'] == 'True' for cell in cells.values())} of {len(cells)}"


if __name__ == "__main__":
    main()
