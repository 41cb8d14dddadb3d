"""Rivals that run in an environment of their own, which `make peers` makes, as subprocesses that exchange files."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.cells import PEFT_EPOCHS, PEFT_EPOCHS_OF_FEW
from benchmarks.accuracy.task import Answer, Task
from benchmarks.encoders import catalog_folder
from submillion.cache import cache_root

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "build" / "peers" / "bin" / "python"


class MethodFailed(Exception):
    """A method could not run, or ended without an answer."""


def setfit(task: Task, encoder: str) -> Answer:
    """Fine-tune a sentence encoder on pairs and fit a logistic regression, as SetFit does."""
    return _answer(_call("setfit", _request(task, encoder)))


def plain_peft(task: Task, encoder: str) -> Answer:
    """Train LoRA on query and value with transformers and peft, as in peft's example."""
    epochs = PEFT_EPOCHS.get(task.size, PEFT_EPOCHS_OF_FEW)
    return _answer(_call("peft", _request(task, encoder) | {"epochs": epochs}))


def static_features(folder: Path, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of texts under a static model distilled from an encoder, scaled to length 1.

    Args:
        folder: of the encoder. The static model is distilled once and stays in the cache; that is not counted.
        texts: N texts.

    Returns:
        Features [N, D], and [N, 2] seconds of wall-clock and processor time.
    """
    distilled = cache_root().parent / "submillion-accuracy" / f"model2vec-{folder.name}"
    answer = _call("model2vec", {"encoder": str(folder), "distilled": str(distilled), "texts": list(texts)})
    features = np.array(answer["features"], np.float32)
    return features, np.tile([answer["wall_s"] / len(texts), answer["cpu_s"] / len(texts)], (len(texts), 1))


def _request(task: Task, encoder: str) -> dict[str, Any]:
    return {
        "encoder": str(catalog_folder(encoder)),
        "texts": task.texts,
        "labels": task.labels,
        "classes": len(task.classes),
        "test_texts": task.test_texts,
        "seed": task.seed,
    }


def _call(script: str, request: dict[str, Any]) -> dict[str, Any]:
    """Run one of benchmarks/peers/accuracy_*.py on a request and return its answer.

    Raises:
        MethodFailed: there is no environment, or the script failed.
    """
    if not PYTHON.is_file():
        raise MethodFailed(
            f"no {PYTHON.relative_to(ROOT)}; make the environment of the rivals with: make peers"
        )
    with tempfile.TemporaryDirectory(prefix="accuracy-") as folder:
        asked, answered = Path(folder) / "request.json", Path(folder) / "answer.json"
        asked.write_text(json.dumps(request), encoding="utf-8")
        done = subprocess.run(
            [PYTHON, "-m", f"benchmarks.peers.accuracy_{script}", asked, answered],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode or not answered.is_file():
            raise MethodFailed(f"{script} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
        answer: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
    return answer


def _answer(values: dict[str, Any]) -> Answer:
    return Answer(**values)
