"""The features of texts under a frozen encoder or a static model, cached on disk row by row with their cost."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.linear import REGRESSION_STRENGTHS, best_strength, log_likelihood, regression
from benchmarks.accuracy.peer import static_features
from benchmarks.accuracy.task import Answer, Task, timed
from benchmarks.encoders import catalog_folder
from submillion.cache import cache_root

MAX_TOKENS = 256
BATCH = 32
SAVED_EVERY = 512  # rows: what a killed process loses at most

Encode = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]
"""texts -> features [N, D], and [N, 2] seconds of wall-clock and processor time."""


def probe(task: Task, kind: str, encoder: str) -> Answer:
    """Fit a logistic regression on frozen features, scaled to length 1.

    Args:
        task: rows and texts.
        kind: `frozen` (the mean of the encoder's last states) or `model2vec`.
        encoder: name in submillion's catalog.
    """
    folder = catalog_folder(encoder)
    encode: Encode = (
        (lambda texts: mean_states(folder, texts))
        if kind == "frozen"
        else (lambda texts: static_features(folder, texts))
    )
    name = f"{task.set}-{kind}-{encoder}"
    train = FeatureFile(f"{name}-train").rows(task.train_places, task.texts, encode)
    test = FeatureFile(f"{name}-test").rows(task.test_places, task.test_texts, encode)
    labels = np.array(task.labels)
    with timed() as fitting:
        strength = best_strength(
            regression, REGRESSION_STRENGTHS, train.features, labels, task.seed, log_likelihood
        )
        model = regression(strength).fit(train.features, labels)
    with timed() as predicting:
        predicted = model.predict(test.features)
    return Answer(
        predicted.tolist(),
        fitting.wall + train.wall_s,
        predicting.wall + test.wall_s,
        fitting.cpu + train.cpu_s,
        predicting.cpu + test.cpu_s,
        parameters=(train.features.shape[1] + 1) * len(task.classes),
        setting=f"C={strength:g}",
    )


@dataclass(frozen=True)
class Features:
    """Features of some rows and what they cost when they were computed."""

    features: np.ndarray
    wall_s: float
    cpu_s: float


class FeatureFile:
    """The features of one part of a set, of which only those that were asked for have been computed."""

    def __init__(self, name: str) -> None:
        self._file = cache_root().parent / "submillion-accuracy" / f"{name}.npz"

    def rows(self, places: Sequence[int], texts: Sequence[str], encode: Encode) -> Features:
        """Return the features of the rows at these places, in this order.

        Args:
            places: N places in the set.
            texts: their N texts.
            encode: computes those that the file lacks.
        """
        known = self._read()
        missing = [row for row, place in enumerate(places) if place not in known]
        # Of similar length, so that little is padded.
        missing.sort(key=lambda row: len(texts[row]))
        for start in range(0, len(missing), SAVED_EVERY):
            part = missing[start : start + SAVED_EVERY]
            features, seconds = encode([texts[row] for row in part])
            known |= {
                places[row]: (vector, cost) for row, vector, cost in zip(part, features, seconds, strict=True)
            }
            self._write(known)
        vectors = np.stack([known[place][0] for place in places])
        costs = np.stack([known[place][1] for place in places]).sum(axis=0)
        return Features(vectors, float(costs[0]), float(costs[1]))

    def _read(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        if not self._file.is_file():
            return {}
        with np.load(self._file) as stored:
            places, features, seconds = stored["places"].tolist(), stored["features"], stored["seconds"]
        return {place: (features[row], seconds[row]) for row, place in enumerate(places)}

    def _write(self, known: dict[int, tuple[np.ndarray, np.ndarray]]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial: Path = self._file.with_name(f"{self._file.stem}.{os.getpid()}.npz")
        np.savez(
            partial,
            places=np.array(list(known)),
            features=np.stack([value[0] for value in known.values()]),
            seconds=np.stack([value[1] for value in known.values()]),
        )
        partial.replace(self._file)


def mean_states(
    folder: Path, texts: Sequence[str], max_tokens: int = MAX_TOKENS, normalize: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the last states of each text's tokens, scaled to length 1, and the seconds of each text.

    This is what all-MiniLM-L6-v2 and all-mpnet-base-v2 were trained with (their modules.json: mean pooling, Normalize).

    Args:
        folder: of the encoder.
        texts: N texts, best sorted by length.
        max_tokens: at which a text is cut.
        normalize: whether the means are scaled.
    """
    import torch

    model, tokenizer = _opened(folder)
    vectors, costs = [], []
    for start in range(0, len(texts), BATCH):
        part = list(texts[start : start + BATCH])
        with timed() as clock, torch.inference_mode():
            tokens = tokenizer(
                part, truncation=True, max_length=max_tokens, padding=True, return_tensors="pt"
            )
            states = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][:, :, None]
            mean = (states * mask).sum(1) / mask.sum(1)
            vectors.append((torch.nn.functional.normalize(mean) if normalize else mean).numpy())
        costs.append(np.tile([clock.wall / len(part), clock.cpu / len(part)], (len(part), 1)))
    return np.concatenate(vectors), np.concatenate(costs)


_models: dict[Path, tuple[Any, Any]] = {}


def _opened(folder: Path) -> tuple[Any, Any]:
    """Return model and tokenizer of a folder, loaded once."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    if folder not in _models:
        library: Any = logging  # its functions have no types
        library.disable_progress_bar()
        models: Any = AutoModel
        _models[folder] = (models.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder))
    return _models[folder]
