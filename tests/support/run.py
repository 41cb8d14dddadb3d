"""A made run directory that looks like a trained one: for the tests of assess/ and report/."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from submillion.recipe import Recipe
from submillion.run_format.manifest import FORMAT
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir

NEWS = ("World", "Sports", "Business", "Sci/Tech")
TOPICS = ("acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade")


def made_predictions(sizes: Sequence[int], skill: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels [N] and probabilities float32 [N, C]; neighbouring classes are confused most."""
    rng = np.random.default_rng(seed)
    classes = len(sizes)
    labels = np.repeat(np.arange(classes), sizes)
    logits = rng.normal(0, 1.3, (len(labels), classes))
    logits[np.arange(len(labels)), labels] += skill
    logits[np.arange(len(labels)), (labels + 1) % classes] += 0.25 * skill
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return labels, (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)


def save_split(
    run: RunDir,
    split: str,
    labels: Sequence[int] | np.ndarray | None,
    probabilities: np.ndarray,
    names: Sequence[str],
) -> None:
    """Save predictions as a run does, with made-up ids and text hashes."""
    ids = [f"{split}-{row}" for row in range(len(probabilities))]
    hashes = [hashlib.sha256(name.encode()).hexdigest() for name in ids]
    run.save_predictions(split, Predictions.of(ids, hashes, labels, probabilities, names))


def made_manifest(names: Sequence[str], **facts: Any) -> dict[str, Any]:
    """Return a manifest with the keys that the pipeline writes."""
    return {
        "format": FORMAT,
        "submillion": "0.1.0",
        "name": "made",
        "created": "2025-01-31T12:00:00+00:00",
        "status": "complete",
        "seed": 42,
        "labels": list(names),
        "versions": {"python": "3.11.9", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2"},
        "machine": {
            "platform": "Linux-x86_64",
            "processor": "Example CPU",
            "cores": 2,
            "memory_gb": 24.0,
            "accelerator": None,
        },
        "git": None,
        "data": made_data(names),
        "encoder": {
            "source": "roberta-base",
            "revision": None,
            "via": "hub",
            "name": "roberta-base",
            "origin": "hub roberta-base",
            "sha256": {"model.safetensors": "ab" * 32},
            "licence": "mit",
            "model_type": "roberta",
        },
        "budget": {
            "trainable": 888_580,
            "total": 124_943_620,
            "parts": {"lora.query": 294_912, "head.projection": 590_592, "head.output": 3_076},
            "by_layer": [],
            "budget": 1_000_000,
            "fits": True,
        },
        "training": {
            "best_step": 2 * STEPS,
            "best_epoch": 2,
            "best_accuracy": 0.9431,
            "epochs_run": 4,
            "steps": 4 * STEPS,
            "tokens_seen": 3_604_480,
            "wall_seconds": 3723.4,
            "samples_per_second": 33.2,
            "peak_memory_mb": 2310.5,
            "peak_accelerator_mb": None,
            "precision": "bfloat16",
            "execution": "reference",
            "stopped_early": True,
        },
        "max_length": 128,
        "notices": [{"code": "precision", "text": "bfloat16: the processor multiplies it in hardware."}],
    } | facts


def made_data(names: Sequence[str], rows: int = 190) -> dict[str, Any]:
    """Return what the manifest keeps of the data."""
    splits = ("train", "validation", "test")
    return {
        "name": "ag_news",
        "source": "ag_news",
        "origin": "hub fancyzhx/ag_news",
        "licence": "non-commercial use",
        "sources": {},
        "labels": list(names),
        "splits": {
            split: {
                "rows": rows * len(names),
                "label_counts": dict.fromkeys(names, rows),
                "largest_share": 1 / len(names),
                "smallest_share": 1 / len(names),
                "fingerprint": hashlib.sha256(split.encode()).hexdigest(),
            }
            for split in splits
        },
        "checks": {
            "empty_texts": {split: {"rows": 0, "dropped": split == "train"} for split in splits},
            "duplicates": {split: {"rows": 3, "conflicting_texts": 1, "conflicts": []} for split in splits},
            "train_rows_in_test": {"rows": 17, "examples": [], "dropped": True},
            "train_rows_in_validation": {"rows": 0, "examples": [], "dropped": False},
            "validation_rows_in_test": {"rows": 2, "examples": [], "dropped": False},
        },
        "validation": {"from": "train", "size": 0.1, "seed": 42, "order": "sha256 of seed and text"},
        "limit": None,
        "tokens": {
            split: {"rows": 760, "tokens": 38_000, "longest": 251, "truncated": 19, "truncated_share": 0.025}
            for split in splits
        },
    }


STEPS = 532  # optimizer steps of one made epoch


def write_history(run: RunDir, epochs: int = 4, every: int = 10) -> None:
    """Write a history of falling training loss and of a validation accuracy that peaks at epoch 2."""
    rng = np.random.default_rng(1)
    for step in range(every, epochs * STEPS + 1, every):
        value = 0.14 + 1.2 * np.exp(-step / 60) + 0.08 * np.exp(-step / 900) * rng.normal()
        record = {"step": step, "epoch": step / STEPS, "loss": float(abs(value)), "learning_rate": 3e-4}
        run.append_history({"kind": "train"} | record)
    for epoch, (loss, accuracy) in enumerate(
        [(0.214, 0.9313), (0.197, 0.9431), (0.208, 0.9402), (0.231, 0.9397)][:epochs], start=1
    ):
        scores = {"loss": loss, "accuracy": accuracy, "macro_f1": accuracy - 0.001}
        run.append_history({"kind": "eval", "step": epoch * STEPS, "epoch": epoch} | scores)


def made_run(
    path: Path,
    names: Sequence[str] = NEWS,
    sizes: Sequence[int] = (190, 190, 190, 190),
    skill: float = 4.6,
    splits: Sequence[str] = ("validation", "test"),
    epochs: int = 4,
    **facts: Any,
) -> RunDir:
    """Make a run directory with recipe, manifest, history and predictions."""
    run = RunDir.create(path)
    run.write_text(run.recipe, Recipe.load("agnews-reference").to_yaml())
    run.write_json(run.manifest, made_manifest(names, **facts))
    write_history(run, epochs)
    for seed, split in enumerate(splits):
        labels, probabilities = made_predictions(sizes, skill, seed)
        save_split(run, split, labels, probabilities, names)
    return run
