"""The interface of an execution, one way to run a classifier, and of the cached states it may start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.precision import Precision

PrefixForward = Callable[[np.ndarray], Tensor]
"""Takes row indices; returns the hidden states that enter the lowest adapted layer, end to end without padding,
[tokens of the rows, D]."""


class States(Protocol):
    """Hidden states that enter the lowest adapted layer, by row: what a prefix cache holds."""

    def flat_states(self, rows: np.ndarray) -> Tensor:
        """Return the states of `rows` end to end without padding, [tokens of the rows, D]."""
        ...

    def states(
        self, rows: np.ndarray, width: int | None = None, device: torch.device | None = None
    ) -> Tensor:
        """Return the states of `rows`, float32 [len(rows), S, D], padded with zeros to `width` tokens."""
        ...


class LowerLayers(Protocol):
    """What computes the states of a prefix cache in place of the execution that trains."""

    @property
    def execution(self) -> Execution:
        """Runs the layers below the lowest adapter, of the same classifier."""
        ...

    @property
    def identity(self) -> list[Any]:
        """Everything beside the execution's name and the weights that decides the states, as JSON values."""
        ...


class Execution(Protocol):
    """Token ids in, logits out; dropout is on while the classifier is in training mode."""

    @property
    def name(self) -> str:
        """Its name in the manifest, e.g. `reference`."""
        ...

    @property
    def classifier(self) -> Classifier:
        """The classifier that it runs."""
        ...

    @property
    def precision(self) -> Precision:
        """The number format of its matrix products."""
        ...

    @property
    def step_tokens(self) -> int | None:
        """Maximum tokens of one forward and backward pass; None if any number will do."""
        ...

    @property
    def pass_tokens(self) -> int | None:
        """Tokens up to which inference joins batches; None if that gains nothing."""
        ...

    def logits(self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: States | None = None) -> Tensor:
        """Return logits, float32 [len(rows), C].

        Args:
            tokens: the texts.
            rows: indices of the texts to run.
            seed: seed of the dropout masks; used by executions that draw masks themselves.
            prefix: the cached states of `tokens` that enter the lowest adapted layer, if any.
        """
        ...

    def features(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: States | None = None
    ) -> Tensor:
        """Return what the head reads, float32 [len(rows), D]: `classifier.head` of it are the logits.

        It is the last state of a text's first token, or the mean of those of all its tokens; arguments as in `logits`.
        """
        ...

    def prefix_forward(self, tokens: Tokens) -> PrefixForward:
        """Return the function that computes the states entering the lowest adapted layer, for `PrefixCache.build`."""
        ...
