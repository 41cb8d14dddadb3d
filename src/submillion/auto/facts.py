"""The facts that `auto` decides from: labelled texts, their tokens, the encoder and the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from submillion.environment import cpu_features
from submillion.limits import processors
from submillion.recipe import DataRecipe

QUANTILES = (0.5, 0.9, 0.99, 1.0)
AMX, HALF = {"amx_bf16"}, {"avx512_bf16", "bf16", "svebf16"}
LAST_LATIN = 0x24F
"""The last character of the block Latin Extended-B."""


@dataclass(frozen=True)
class TextFacts:
    """The training texts after the checks, before any is held out."""

    rows: int
    classes: int
    smallest: int
    """Rows of the smallest class that has any."""
    median: float
    """Median of the rows per class."""
    largest: int
    characters: float
    """Mean characters per text, in a sample."""
    words: float
    """Mean words per text, separated by white space, in a sample."""
    other_scripts: float
    """Share of the letters that are not Latin, in a sample."""
    test_rows: int
    """Rows of the test split; 0 without one."""
    validation_rows: int
    """Rows of a validation split of its own; 0 without one."""

    @classmethod
    def of(
        cls, labels: Sequence[int], sample: Sequence[str], test_rows: int = 0, validation_rows: int = 0
    ) -> Self:
        """Count the rows of each class, and what a sample of the texts consists of.

        Args:
            labels: class of each training row [N].
            sample: some of the texts.
            test_rows: rows of the test split.
            validation_rows: rows of a validation split of its own.
        """
        counts = sorted(Counter(labels).values())
        letters = [ord(letter) for text in sample for letter in text if letter.isalpha()]
        return cls(
            rows=len(labels),
            classes=len(counts),
            smallest=counts[0],
            median=float(np.median(counts)),
            largest=counts[-1],
            characters=float(np.mean([len(text) for text in sample])),
            words=float(np.mean([len(text.split()) for text in sample])),
            other_scripts=sum(letter > LAST_LATIN for letter in letters) / max(1, len(letters)),
            test_rows=test_rows,
            validation_rows=validation_rows,
        )

    @property
    def balance(self) -> float:
        """Rows of the largest class per row of the smallest."""
        return self.largest / self.smallest


@dataclass(frozen=True)
class TokenFacts:
    """A sample of the training texts in tokens of the encoder's tokenizer, untruncated, special tokens included."""

    sampled: int
    mean: float
    median: int
    p90: int
    p99: int
    longest: int
    unknown_share: float
    """Share of tokens that the tokenizer does not know."""

    @classmethod
    def of(cls, lengths: np.ndarray, unknown_share: float) -> Self:
        """Summarise the lengths of texts, int [N], N at least 1."""
        median, p90, p99, longest = np.quantile(lengths, QUANTILES, method="higher")
        mean = float(lengths.mean())
        return cls(len(lengths), mean, int(median), int(p90), int(p99), int(longest), unknown_share)

    def read(self, data: DataRecipe) -> float:
        """Return about the mean tokens of a text that are read; exact if no text of the sample is longer."""
        if self.longest <= data.max_length or data.windows == "all":
            return self.mean
        return min(self.mean, float(data.max_length))

    def windows(self, data: DataRecipe) -> float:
        """Return about the mean number of windows that a text is read in."""
        return max(1.0, self.mean / data.max_length) if data.windows == "all" else 1.0


@dataclass(frozen=True)
class Machine:
    """The class of the machine: facts that do not change from one minute to the next."""

    accelerator: bool
    """Whether torch trains on an accelerator."""
    arithmetic: str
    """The fastest matrix products of the processor: amx, bfloat16 or float32."""
    cores: int

    @classmethod
    def here(cls) -> Self:
        """Return the class of this machine."""
        import torch  # noqa: PLC0415  # the facts of a test need none

        features = cpu_features()
        arithmetic = "amx" if features & AMX else "bfloat16" if features & HALF else "float32"
        return cls(torch.accelerator.is_available(), arithmetic, processors().usable)

    def __str__(self) -> str:
        if self.accelerator:
            return "an accelerator"
        return f"{self.cores} processor core{'s' * (self.cores > 1)} with {self.arithmetic} products"


@dataclass(frozen=True)
class Facts:
    """Everything that the decision depends on, beside the caller's own fields."""

    texts: TextFacts
    tokens: TokenFacts
    encoder: str
    """As the recipe names it."""
    config: Mapping[str, Any]
    """The encoder's config.json."""
    sentences: bool
    """Whether the encoder was trained so that the mean of its last states represents a text."""
    machine: Machine

    def to_json(self) -> dict[str, Any]:
        """Return the facts for the manifest; of the encoder's configuration, the name of its family alone."""
        return {
            "texts": asdict(self.texts),
            "tokens": asdict(self.tokens),
            "encoder": {
                "source": self.encoder,
                "model_type": self.config.get("model_type"),
                "trained_for_means": self.sentences,
            },
            "machine": asdict(self.machine),
        }
