"""The compiled execution: the reference one with each of the encoder's layers run through torch.compile."""

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
from submillion.model.prefix import PrefixCache
from submillion.model.process_state import preserved_generators
from submillion.model.stack import supports_prefix

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.execution.reference import Reference
    from submillion.model.protocol import PrefixForward, States

# Graphs of one layer's code: adapted or not, with a gradient for its input or not, training or not, and in some
# families with a mask or without. torch stops at 8 by default and then runs uncompiled.
MAX_GRAPHS = 64


class Compiled:
    """Runs the modules of transformers and peft with compiled layers; embeddings and head are not compiled.

    Layers of one kind share the code compiled for the first of them, so compiling takes the time of a few layers
    instead of all. Widths and numbers of texts are symbolic: batches of other sizes compile nothing new. The
    classifier's own modules and the names of its tensors do not change: compiled layers replace them while a batch
    runs. The compiled code draws dropout from torch's generator: other masks than uncompiled layers draw, the same
    ones for the same seed.
    """

    name = "compiled"
    step_tokens = None
    pass_tokens = None

    def __init__(self, reference: Reference, backend: str | Callable[..., Any] = "inductor") -> None:
        """Compile everything a training step runs, so that a failure to compile is raised here.

        Args:
            reference: the reference execution of a classifier on its target device, made with `compiled=True`.
            backend: backend of torch.compile.

        Raises:
            BadInput: torch cannot compile here, or not these layers.
        """
        self.classifier, self.precision, self._reference = (
            reference.classifier,
            reference.precision,
            reference,
        )
        try:
            self._layers: list[Any] = [
                torch.compile(layer, fullgraph=True, dynamic=True, backend=backend)
                for layer in self.classifier.stack.layers
            ]
        except RuntimeError as error:  # torch.compile does not support this Python or operating system
            raise _cannot_compile(error) from error
        started_at = time.perf_counter()
        self._compile_training_step()
        elapsed_s = time.perf_counter() - started_at
        notices.emit(
            "execution",
            f"execution: compiled (train.compile is true); compiling took {elapsed_s:.0f} s, and the first "
            "evaluation compiles again",
            execution=self.name,
            seconds=round(elapsed_s, 1),
        )

    def logits(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: States | None = None
    ) -> torch.Tensor:
        """Return logits; see `Execution.logits`.

        Raises:
            BadInput: this batch needs a new graph, and torch cannot compile it.
        """
        # A batch of one text would be compiled anew, because torch treats a size of 1 as a constant.
        run = np.repeat(rows, 2) if len(rows) == 1 else rows
        with self._compiled_layers():
            return self._reference.logits(tokens, run, seed, prefix)[: len(rows)]

    def features(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: States | None = None
    ) -> torch.Tensor:
        """Return pooled last states; see `Execution.features`.

        Raises:
            BadInput: as `logits`.
        """
        run = np.repeat(rows, 2) if len(rows) == 1 else rows
        with self._compiled_layers():
            return self._reference.features(tokens, run, seed, prefix)[: len(rows)]

    def prefix_forward(self, tokens: Tokens) -> PrefixForward:
        """Return that of the reference execution: layers that run once per text are not worth compiling."""
        return self._reference.prefix_forward(tokens)

    @contextmanager
    def _compiled_layers(self) -> Iterator[None]:
        """Run the compiled layers in place of the encoder's inside the block; report a failure to compile."""
        # Not at the top: the compiler takes a second to import, and other executions do not need it.
        from torch._dynamo import config  # noqa: PLC0415
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException  # noqa: PLC0415

        try:
            with (
                self.classifier.stack.replaced_by(self._layers),
                config.patch(recompile_limit=MAX_GRAPHS),
            ):
                yield
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            raise _cannot_compile(error) from error

    def _compile_training_step(self) -> None:
        """Run a few short texts forward and backward as training does, and drop the gradients."""
        classifier = self.classifier
        token_id = classifier.pad_id + 1
        # Five texts, seven tokens wide: torch merges sizes that are equal, and these are not a model's own.
        tokens = from_rows([np.full(length, token_id) for length in (7, 3, 3, 3, 3)])
        prefix = None
        if classifier.prefix_depth and supports_prefix(classifier.config):
            prefix = PrefixCache(torch.zeros(len(tokens.ids), classifier.hidden_size), tokens.offsets)
        trained = [value for value in classifier.parameters() if value.requires_grad]
        was_training = classifier.training
        classifier.train()
        try:
            with preserved_generators(classifier.device.type), torch.enable_grad():
                logits = self.logits(tokens, np.arange(len(tokens)), prefix=prefix)
                torch.autograd.grad(logits.sum(), trained, allow_unused=True)
        finally:
            classifier.train(was_training)


def _cannot_compile(error: Exception) -> BadInput:
    # The first line often names only the backend, and the second the cause.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = f"{type(error).__name__}: {' '.join(lines[:2]) or 'no reason given'}".rstrip(".")
    return BadInput(
        Problem(
            "train.compile",
            "layers that torch.compile can compile on this machine",
            cause,
            "Use @{train.compile=false}.",
        )
    )
