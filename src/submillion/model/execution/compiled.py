"""The compiled execution: the reference one, each of the encoder's layers run through torch.compile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from submillion import notices
from submillion.data.tokens import from_rows
from submillion.errors import BadInput, Problem

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.execution.reference import Reference
    from submillion.model.prefix import PrefixCache

# Graphs of one layer's code: adapted or not, with a gradient for its input or not, training or not, and in some
# families with a mask or without. torch stops at 8 and then runs uncompiled.
MOST_GRAPHS = 64


class Compiled:
    """Runs the modules of transformers and peft, their layers compiled; embeddings and head are not.

    Layers of one kind share what is compiled for the first of them, so that it takes the time of a few layers and
    not of the whole encoder. Widths and numbers of texts are symbols in it: batches of other sizes compile nothing
    new. The classifier's own modules stay as they are, and so do the names of its tensors: compiled layers stand in
    for them while a batch runs. Dropout is drawn by torch's compiler from torch's generator: other masks than
    uncompiled, the same for the same seed.
    """

    name = "compiled"
    step_tokens = None
    pass_tokens = None

    def __init__(
        self, classifier: Classifier, reference: Reference, backend: str | Callable[..., Any] = "inductor"
    ) -> None:
        """Compile what a training step runs, so that what cannot be compiled is refused here.

        Args:
            classifier: on its device.
            reference: its reference execution, with masks for compiled layers.
            backend: torch.compile's.

        Raises:
            BadInput: torch cannot compile here, or not these layers.
        """
        self._classifier, self._reference = classifier, reference
        try:
            self._layers: list[Any] = [
                torch.compile(layer, fullgraph=True, dynamic=True, backend=backend)
                for layer in classifier.stack.layers
            ]
        except RuntimeError as error:  # a Python or a system that torch.compile does not know
            raise _refusal(error) from error
        began = time.perf_counter()
        self._step()
        seconds = time.perf_counter() - began
        notices.emit(
            "execution",
            f"execution compiled: train.compile is true; compiling took {seconds:.0f} s, and the first evaluation "
            "compiles again",
            execution=self.name,
            seconds=round(seconds, 1),
        )

    def logits(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: PrefixCache | None = None
    ) -> torch.Tensor:
        """Return logits as `Execution.logits` says.

        Raises:
            BadInput: something new must be compiled for this batch and cannot be.
        """
        # A batch of one would be compiled anew, as torch takes a size of 1 for a constant.
        run = np.repeat(rows, 2) if len(rows) == 1 else rows
        with self._compiled():
            return self._reference.logits(tokens, run, seed, prefix)[: len(rows)]

    def states_of(self, tokens: Tokens) -> None:
        """Return None: layers that run once per text are not worth compiling."""

    @contextmanager
    def _compiled(self) -> Iterator[None]:
        """Let compiled layers stand in for the encoder's, and tell what fails to compile."""
        from torch._dynamo import config
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

        try:
            with (
                self._classifier.stack.replaced_by(self._layers),
                config.patch(recompile_limit=MOST_GRAPHS),
            ):
                yield
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            raise _refusal(error) from error

    def _step(self) -> None:
        """Run some small texts forward and backward as training does; no gradient is kept."""
        # Not above: predicting, which fills the cache, imports the executions.
        from submillion.model.prefix import PrefixCache, supports_prefix

        classifier = self._classifier
        word = classifier.pad_id + 1
        # Five texts, seven tokens wide: torch takes sizes that are equal for one, and these are not a model's own.
        tokens = from_rows([np.full(length, word) for length in (7, 3, 3, 3, 3)])
        prefix = None
        if classifier.prefix_depth and supports_prefix(classifier.config):
            prefix = PrefixCache(torch.zeros(len(tokens.ids), classifier.hidden_size), tokens.offsets)
        trained = [value for value in classifier.parameters() if value.requires_grad]
        was_training = classifier.training
        classifier.train()
        try:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                logits = self.logits(tokens, np.arange(len(tokens)), prefix=prefix)
                torch.autograd.grad(logits.sum(), trained, allow_unused=True)
        finally:
            classifier.train(was_training)


def _refusal(error: Exception) -> BadInput:
    # The first line often names the backend alone, and the second what it met.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = f"{type(error).__name__}: {' '.join(lines[:2]) or 'no reason given'}".rstrip(".")
    return BadInput(
        Problem("train.compile", "layers that torch.compile can compile here", found, "Set it to false.")
    )
