"""Searches with a stand-in for the training: its script, and studies whose jobs run it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from submillion.study import outputs
from submillion.study.engines import job as engine_job
from submillion.study.engines import local as local_engine
from submillion.study.run import Outcome, study

# Stands in for `submillion.study.worker`: the score falls off around a learning rate of 1e-3, and grows by evaluation.
TRAINING = """
import json, math, pathlib, re, sys, time
run, recipe = map(pathlib.Path, sys.argv[1:])
text = recipe.read_text()
number = lambda name, part: float(re.search(rf"^ *{name}: (.*)$", part, re.M)[1])
train = text[text.index("\\ntrain:"):]  # another section has a learning rate too
rate, epochs, seed = number("learning_rate", train), int(number("epochs", train)), number("seed", text)
if rate > 0.05:
    sys.exit(print("diverged") or 2)
if rate > 0.02 and not (run.parent / "mended").exists():
    sys.exit(print("out of memory") or 1)
best = 0.9 - 0.1 * math.log10(rate / 1e-3) ** 2 + 0.001 * seed
run.mkdir(parents=True, exist_ok=True)
(run / "recipe.yaml").write_text(text)
(run / "manifest.json").write_text(json.dumps({"status": "running"}))
with open(run.parent / "begun", "a") as begun:
    begun.write(run.name + "\\n")
with open(run / "history.jsonl", "w") as history:
    for epoch in range(1, epochs + 1):
        score = best - 0.05 * (epochs - epoch)
        place = {"step": 9 * epoch, "epoch": epoch, "loss": 0.5}
        record = {"kind": "eval", **place, "accuracy": score, "macro_f1": score / 2}
        line = {"kind": "train", **place, "learning_rate": rate}
        history.write(json.dumps(line) + "\\n" + json.dumps(record) + "\\n")
        history.flush()
        time.sleep(SLEEP)
whole = {"value": best, "low": best, "high": best, "confidence_level": 0.95}
confidence = {"split": "validation", "rows": 9, "mean": 0.8, "median": 0.8, "min": 0.5, "max": 0.9, "above": {}}
metrics = {"split": "validation", "rows": 9, "correct": 5, "accuracy": best, "accuracy_interval": whole}
metrics |= {"macro_f1": best / 2, "loss": 0.5, "confidence": confidence, "confusion": [[9]]}
metrics["per_class"] = {"a": {"precision": best, "recall": best, "f1": best, "support": 9}}
(run / "metrics.json").write_text(json.dumps({"validation": metrics}))
training = {"tokens_seen": 9, "wall_seconds": 1.0, "samples_per_second": 2.0, "peak_memory_mb": 3.0}
manifest = {"format": 2, "status": "complete", "training": training}
manifest["data"] = {"name": "made", "source": "made", "origin": "made", "licence": None, "labels": ["a"]}
manifest["data"] |= {"splits": {}, "sources": {}, "limit": None}
(run / "manifest.json").write_text(json.dumps(manifest))
"""
RATES = {"train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


@contextmanager
def trained_by(script: Path | str, tables: bool = False) -> Iterator[None]:
    """Let jobs run a script in place of a training; write the outputs, which take a while, only on request."""
    command = property(lambda job: [sys.executable, "-S", str(script), str(job.run), str(job.recipe)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_job.Job, "command", command)
        patch.setattr(local_engine, "TICK_S", 0.02)
        if not tables:
            patch.setattr(outputs, "write_outputs", lambda findings, folder: None)
        yield


def stand_in(folder: Path, sleep: float = 0.0) -> Path:
    """Write the script that stands in for the training."""
    file = folder / "training.py"
    file.write_text(TRAINING.replace("SLEEP", str(sleep)), encoding="utf-8")
    return file


def search_file(folder: Path, **values: Any) -> Path:
    """Write the file of a search."""
    file = folder / "mine.yaml"
    whole = {"base": "r8", "search": RATES, "trials": 8, "seeds": [1, 2]} | values
    whole["set"] = {"train.epochs": 3, "train.learning_rate": 1e-4} | whole.get("set", {})
    file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return file


def searched(folder: Path, place: str = "out", tables: bool = False, **values: Any) -> Outcome:
    """Conduct a search with the stand-in."""
    with trained_by(stand_in(folder), tables):
        return study(search_file(folder, **values), folder / place, quiet=True)


def begun(place: Path) -> list[str]:
    """Return the runs that were begun, in order, each as often as it was."""
    return (place / "runs" / "begun").read_text(encoding="utf-8").split()
