"""The two ways to run one classifier: the modules of transformers and peft, or the packed kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from submillion.data.batches import collate
from submillion.model.packed import open_packed

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.precision import Precision
    from submillion.model.prefix import Compute, PrefixCache


class Execution(Protocol):
    """Token ids in, logits out; dropout as the classifier's training mode says."""

    @property
    def name(self) -> str:
        """How the manifest calls it."""
        ...

    @property
    def step_tokens(self) -> int | None:
        """Tokens that one forward and backward pass shall have at most; None where any number will do."""
        ...

    def logits(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: PrefixCache | None = None
    ) -> Tensor:
        """Return logits, float32 [len(rows), C].

        Args:
            tokens: the texts, of which `rows` are run.
            seed: what dropout is drawn from, where the execution draws it itself.
            prefix: the states entering the lowest adapted layer, where they are cached.
        """
        ...

    def states_of(self, tokens: Tokens) -> Compute | None:
        """Return what computes the states entering the lowest adapted layer, for `PrefixCache.build`."""
        ...


class Reference:
    """The modules of transformers and peft on padded batches; dropout is torch's, from torch's generator."""

    name = "reference"
    step_tokens = None

    def __init__(self, classifier: Classifier, precision: Precision) -> None:
        self._classifier, self._precision = classifier, precision

    def logits(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: PrefixCache | None = None
    ) -> Tensor:
        """Return logits as `Execution.logits` says."""
        device = self._classifier.device
        batch = {
            name: tensor.to(device) for name, tensor in collate(tokens, rows, self._classifier.pad_id).items()
        }
        width = batch["input_ids"].shape[1]
        states = None if prefix is None else prefix.states(rows, width).to(device)
        with self._precision.context(device.type):
            return self._classifier(batch, states).float()

    def states_of(self, tokens: Tokens) -> None:
        """Return None: the cache runs the modules of transformers by itself."""


def open_execution(classifier: Classifier, precision: Precision, wanted: str = "auto") -> Execution:
    """Return the execution of a classifier that is on its device, and say which it is in a notice.

    Args:
        wanted: `auto` takes the packed one wherever it can be had.

    Raises:
        BadInput: `packed` is wanted and cannot be had.
    """
    return open_packed(classifier, precision, wanted) or Reference(classifier, precision)
