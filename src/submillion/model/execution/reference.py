"""The reference execution: the modules of transformers and peft on padded batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from submillion.data.batches import collate
from submillion.model.protocol import PrefixForward, States
from submillion.model.transfer import to_device

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.precision import Precision


class Reference:
    """Runs the modules of transformers and peft on padded batches; torch draws dropout from its own generator."""

    name = "reference"
    step_tokens = None
    pass_tokens = None

    def __init__(self, classifier: Classifier, precision: Precision, compiled: bool = False) -> None:
        """Prepare to run a classifier.

        Args:
            classifier: on its target device.
            precision: the number format of the matrix products.
            compiled: always pass a mask, in the form that compiled layers expect.
        """
        self.classifier, self.precision, self._compiled = classifier, precision, compiled

    def logits(
        self,
        tokens: Tokens,
        rows: np.ndarray,
        seed: int = 0,  # noqa: ARG002 - part of the protocol; torch's own generator draws dropout here
        prefix: States | None = None,
    ) -> Tensor:
        """Return logits; see `Execution.logits`."""
        return self._run(self.classifier, tokens, rows, prefix)

    def features(
        self,
        tokens: Tokens,
        rows: np.ndarray,
        seed: int = 0,  # noqa: ARG002 - as in `logits`
        prefix: States | None = None,
    ) -> Tensor:
        """Return pooled last states; see `Execution.features`."""
        return self._run(self.classifier.features, tokens, rows, prefix)

    def _run(
        self, forward: Callable[..., Tensor], tokens: Tokens, rows: np.ndarray, prefix: States | None
    ) -> Tensor:
        """Run the classifier, or a part of it, on a padded batch."""
        self.classifier.check_tokens(tokens)
        device = self.classifier.device
        batch = collate(tokens, rows, self.classifier.pad_id)
        width = batch["input_ids"].shape[1]
        mask = self._mask(batch.pop("attention_mask"), device)
        batch = {name: to_device(tensor, device) for name, tensor in batch.items()} | mask
        states = None if prefix is None else prefix.states(rows, width, device)
        with self.precision.context(device.type):
            result: Tensor = forward(batch, states)
        return result.float()

    def prefix_forward(self, tokens: Tokens) -> PrefixForward:
        """Return the function that runs the layers below the lowest adapted one on padded batches."""

        self.classifier.check_tokens(tokens)

        def forward(rows: np.ndarray) -> Tensor:
            batch = collate(tokens, rows, self.classifier.pad_id)
            with self.precision.context(self.classifier.device.type):
                states = self.classifier.states_entering(batch)
            return states[batch["attention_mask"].bool().to(states.device)]

        return forward

    def _mask(self, mask: Tensor, device: torch.device) -> dict[str, Tensor]:
        """Return a batch's mask in the form that the encoder receives, on the device.

        For a mask [B, S] transformers checks in every pass whether it masks anything, and if not, takes a faster
        attention. On an accelerator that check waits for all work queued before. So it is made here, and the
        encoder receives either no mask or the one [B, 1, S, S] that it would build. Compiled layers always
        receive a mask, so that one graph serves all batches.
        """
        plain = device.type == "cpu" and not self._compiled
        if plain or not self._accepts_4d_masks():
            return {"attention_mask": to_device(mask, device)}
        if not self._compiled and bool(mask.all()):
            return {}
        present = to_device(mask.bool(), device)[:, None, None, :]
        return {"attention_mask": present.expand(-1, 1, mask.shape[1], -1)}

    def _accepts_4d_masks(self) -> bool:
        attention = self.classifier.module.get_base_model().config._attn_implementation  # noqa: SLF001 - no public name
        return self.classifier.family.attention_interface and attention == "sdpa"
