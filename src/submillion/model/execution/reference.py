"""The ways to run one classifier: the modules of transformers and peft, also compiled, or packed tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import psutil

from submillion import notices
from submillion.data.batches import collate
from submillion.errors import BadInput, Problem
from submillion.model.execution import jagged
from submillion.model.execution.compiled import Compiled
from submillion.model.execution.packed import open_packed
from submillion.model.execution.transfer import moved

if TYPE_CHECKING:
    import numpy as np
    import torch
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

    @property
    def pass_tokens(self) -> int | None:
        """Tokens up to which batches are joined where nothing is trained; None where that gains nothing."""
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
    pass_tokens = None

    def __init__(self, classifier: Classifier, precision: Precision, compiled: bool = False) -> None:
        """Take a classifier that is on its device; `compiled` makes masks as compiled layers want them."""
        self._classifier, self._precision, self._compiled = classifier, precision, compiled

    def logits(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: PrefixCache | None = None
    ) -> Tensor:
        """Return logits as `Execution.logits` says."""
        device = self._classifier.device
        batch = collate(tokens, rows, self._classifier.pad_id)
        width = batch["input_ids"].shape[1]
        masked = self._mask(batch.pop("attention_mask"), device)
        batch = {name: moved(tensor, device) for name, tensor in batch.items()} | masked
        states = None if prefix is None else prefix.states(rows, width, device)
        with self._precision.context(device.type):
            return self._classifier(batch, states).float()

    def _mask(self, mask: Tensor, device: torch.device) -> dict[str, Tensor]:
        """Return the mask of a batch as the encoder is given it, on the device.

        Of a mask [B, S] transformers asks at every pass whether it masks anything, and then takes a faster
        attention. On an accelerator the answer is a wait for all that was begun before; so it is found here, and
        the encoder gets no mask, or the one [B, 1, S, S] that it would make. Compiled layers always get one, so
        that there is one kind of them.
        """
        usual = device.type == "cpu" and not self._compiled
        if usual or not self._takes_ready_masks():
            return {"attention_mask": moved(mask, device)}
        if not self._compiled and bool(mask.all()):
            return {}
        present = moved(mask.bool(), device)[:, None, None, :]
        return {"attention_mask": present.expand(-1, 1, mask.shape[1], -1)}

    def _takes_ready_masks(self) -> bool:
        attention = self._classifier.module.get_base_model().config._attn_implementation
        return self._classifier.family.name in jagged.FAMILIES and attention == "sdpa"

    def states_of(self, tokens: Tokens) -> None:
        """Return None: the cache runs the modules of transformers by itself."""


def open_execution(
    classifier: Classifier,
    precision: Precision,
    wanted: str = "auto",
    compiled: bool = False,
    merged: bool = False,
) -> Execution:
    """Return the execution of a classifier that is on its device, and say which it is in a notice.

    Args:
        wanted: `auto` takes the packed kernels wherever they can be had. `packed` is the kernels on a processor
            and packed tokens through transformers on a CUDA device, where `auto` stays with the reference.
        compiled: run the reference one through torch.compile; `auto` then is the reference one.
        merged: the kernels may take adapters and frozen weights for one, as nothing will be trained.

    Raises:
        BadInput: `packed` is wanted and cannot be had, or torch cannot compile here.
    """
    if compiled:
        if wanted == "packed":
            expected = "false with train.execution=packed, which has nothing to compile"
            raise BadInput(Problem("train.compile", expected, "true"))
        return Compiled(classifier, Reference(classifier, precision, compiled=True))
    if wanted == "packed" and classifier.device.type == "cuda":
        return _open_packed_sdpa(classifier, precision)
    return open_packed(classifier, precision, wanted, merged) or Reference(classifier, precision)


def cached_prefix(
    classifier: Classifier,
    execution: Execution,
    precision: Precision,
    tokens: Tokens,
    batch_size: int,
    progress: bool = False,
    processes: int = 1,
) -> PrefixCache | None:
    """Return the states entering the lowest adapted layer as an execution computes them, as `PrefixCache.build` does.

    Args:
        processes: how many of them share this machine's memory.
    """
    from submillion.model.prefix import PrefixCache  # which runs an execution itself

    return PrefixCache.build(
        classifier,
        tokens,
        batch_size,
        precision,
        progress,
        available=psutil.virtual_memory().available // processes,
        compute=execution.states_of(tokens),
        execution=execution.name,
        pass_tokens=execution.pass_tokens,
    )


def _open_packed_sdpa(classifier: Classifier, precision: Precision) -> Execution:
    reason = jagged.unsupported(classifier)
    if reason is not None:
        expected = f"an encoder that runs on packed tokens ({', '.join(jagged.FAMILIES)})"
        raise BadInput(Problem("train.execution", expected, reason, "Leave it at auto."))
    execution = jagged.PackedSdpa(classifier, precision)
    notices.emit(
        "execution",
        f"execution {execution.name}: asked for; tokens end to end, attention text by text",
        execution=execution.name,
        reason="asked for",
    )
    return execution
