"""What a probe learns from the names of the labels: rows of its own, where the names agree with the training texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from submillion.run_format.manifest import LabelNamesEntry

WEIGHT = 3.0
"""Training texts that the name of a label counts as. Of 1, 3, 6 and 10, it was the best or within 1 point of it on
held-out training texts of five data sets, with 2 to 16 texts a class."""
AGREEMENT = 0.2
"""Least agreement, times the square root of the number of classes. Of random words in place of the names, less than one
set in a hundred reaches it; see `benchmarks.label_names`."""


@dataclass(frozen=True)
class LabelNames:
    """The names of C labels as the encoder reads them, centred and scaled like the features of a probe."""

    rows: np.ndarray
    """float64 [F * C, D], the F sentences of all labels one after the other, of mean squared norm 1; the mean over the
    labels is 0 in each sentence."""
    classes: int

    @classmethod
    def of(cls, features: np.ndarray, classes: int) -> Self:
        """Centre and scale the features of the names.

        Args:
            features: what the output layer receives for each text of `data.label_texts`, [F * C, D].
            classes: C.
        """
        sentences = features.astype(np.float64).reshape(-1, classes, features.shape[1])
        sentences = sentences - sentences.mean(axis=1, keepdims=True)
        scale = np.sqrt(np.square(sentences).sum(axis=2).mean())
        return cls(sentences.reshape(len(features), -1) / max(scale, 1e-9), classes)

    @property
    def labels(self) -> np.ndarray:
        """Class of each row, int64 [F * C]."""
        return np.tile(np.arange(self.classes), len(self.rows) // self.classes)

    @property
    def weight(self) -> float:
        """Weight of each row, where a training text has 1."""
        return WEIGHT * self.classes / len(self.rows)

    def agreement(self, features: np.ndarray, labels: np.ndarray) -> LabelNamesEntry:
        """Compare the names with the texts of their classes.

        Names that say nothing, such as "A" and "B", would harm a probe, and names that are exchanged would ruin it.
        Both have a mean cosine of 0 or less, with a spread that falls with the root of the number of classes.

        Args:
            features: of the training texts, [N, D].
            labels: class index per text, [N].

        Returns:
            The mean cosine between the centre of a class and its name, both taken from the mean over all classes, and
            whether it is high enough for the names to be learned from.
        """
        present = np.unique(labels)
        centres = np.stack([features[labels == each].mean(axis=0, dtype=np.float64) for each in present])
        centres -= centres.mean(axis=0)
        names = self.rows.reshape(-1, self.classes, self.rows.shape[1]).mean(axis=0)[present]
        lengths = np.linalg.norm(centres, axis=1) * np.linalg.norm(names, axis=1)
        cosine = float(((centres * names).sum(axis=1) / np.maximum(lengths, 1e-9)).mean())
        return {"cosine": cosine, "used": bool(cosine * np.sqrt(len(present)) >= AGREEMENT)}
