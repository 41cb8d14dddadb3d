"""Compares the speed that `submillion plan --speed` predicts with the speed of real training steps.

    python -m benchmarks.plan_speed --data FOLDER --encoder FOLDER [--steps 2] [--only NAME,...] [--json FILE]

Configurations: query and value in all layers, the same in the upper half with the lower half cached, and every linear
matrix. The prediction uses the length of the texts that are then trained on. Each configuration is predicted directly
before it runs, because the load of the machine may change.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.encoders import with_weights
from benchmarks.harness import log
from benchmarks.library import open_training, recipe_of
from benchmarks.texts import LABELS, read_texts
from benchmarks.variants import Setting
from submillion.budget.time_model import Workload, speed_of
from submillion.estimate.benchmark import measure
from submillion.sources.folder import read_config

CASES: dict[str, dict[str, Any]] = {
    "all_layers": {},
    "upper_half_cached": {"layers": "half"},
    "all_linear": {"all_linear": True},
}


def compare(setting: Setting, options: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Return predicted and measured texts per second, and the relative error of the prediction."""
    config = read_config(setting.encoder, str(setting.encoder))
    if options.get("layers") == "half":
        options = options | {"layers": f"top-{config['num_hidden_layers'] // 2}"}
    recipe = recipe_of(setting, "auto", **options)
    texts = read_texts(setting)
    work = Workload(1, 1, texts.tokens_per_text, 1, setting.batch_size, recipe.train.eval_batch_size, "given")
    measurement = measure(config, len(LABELS), recipe, [recipe.lora], work)
    planned = speed_of(measurement, config, recipe.lora, work).samples_per_s
    opened = open_training(setting, "auto", **options)
    for rows in opened.warm_up:
        opened.run_batch(rows)
    speeds = []
    for _ in range(rounds):
        started_at = time.perf_counter()
        for rows in opened.batches:
            opened.run_batch(rows)
        speeds.append(sum(map(len, opened.batches)) / (time.perf_counter() - started_at))
    real = statistics.median(speeds)
    return {
        "planned": planned,
        "measured": real,
        "deviation": planned / real - 1,
        "plan_seconds": measurement.facts["seconds"],
        "tokens_per_text": texts.tokens_per_text,
        "execution": measurement.facts["execution"],
    }


def main() -> int:
    """Compare and print; return exit code 1 if a prediction is off by more than 25 %."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with AG News as csv")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of an encoder")
    parser.add_argument("--steps", type=int, default=2, help="batches per round")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default=",".join(CASES), help=f"cases among {','.join(CASES)}")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    if unknown := [name for name in options.only.split(",") if name not in CASES]:
        parser.error(f"--only: {unknown[0]} is not among {', '.join(CASES)}")
    rows = []
    with with_weights(options.encoder) as encoder:
        setting = Setting(options.data, encoder, steps=options.steps)
        for name in options.only.split(","):
            rows.append({"name": name, **compare(setting, CASES[name], options.rounds)})
            row = rows[-1]
            speeds = f"planned {row['planned']:.2f}, measured {row['measured']:.2f} texts/s"
            log(f"{name}: {speeds} ({row['deviation']:+.0%})")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=2))
    return int(any(abs(row["deviation"]) > 0.25 for row in rows))


if __name__ == "__main__":
    sys.exit(main())
