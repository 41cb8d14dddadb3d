"""The packed execution of a GPU: a batch's tokens end to end through transformers, attention within each text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

from submillion.model.execution.packed_texts import PackedTexts
from submillion.model.execution.reference import Reference
from submillion.model.transfer import to_device

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.precision import Precision
    from submillion.model.protocol import PrefixForward, States

ATTENTION = "submillion_jagged"
"""Name under which `attend` is registered with transformers."""


def unsupported(classifier: Classifier) -> str | None:
    """Return why a classifier's encoder cannot run on packed tokens, or None if it can."""
    if not classifier.family.attention_interface:
        return f"the attention of {classifier.family.name} encoders in transformers cannot be replaced"
    config = classifier.module.get_base_model().config
    kind = getattr(config, "position_embedding_type", "absolute")
    if getattr(config, "is_decoder", False) or kind not in ("absolute", None):
        return "the encoder's attention is of an unsupported kind"
    return None


@dataclass(frozen=True)
class TextBounds:
    """Where each text of a batch begins among its tokens."""

    offsets: Tensor
    """int64 [B + 1], on the model's device: text i has the tokens offsets[i] to offsets[i + 1]."""
    shortest: int
    """Tokens of the shortest text; known here, so that the kernels need not wait for the device."""
    longest: int
    """Tokens of the longest text."""

    def jagged(self, values: Tensor) -> Tensor:
        """Return values [1, heads, T, D] as a nested tensor of texts [B, heads, their tokens, D]."""
        end_to_end = values.transpose(1, 2).squeeze(0).contiguous()
        return torch.nested.nested_tensor_from_jagged(
            end_to_end, self.offsets, min_seqlen=self.shortest, max_seqlen=self.longest
        ).transpose(1, 2)


class PackedSdpa:
    """Runs the modules of transformers and peft on one row with all tokens of a batch, without padding.

    Linear layers, norms and adapters treat each token by itself, so it does not matter to them that the row holds
    many texts. Attention does depend on it: through AttentionInterface, transformers calls a function that runs
    torch's scaled_dot_product_attention on jagged tensors. On CUDA these are the variable-length kernels of
    FlashAttention in bfloat16 and of memory-efficient attention in float32. torch draws dropout from its own
    generator.
    """

    name = "packed-sdpa"
    step_tokens = None
    pass_tokens = None

    def __init__(self, classifier: Classifier, precision: Precision) -> None:
        """Prepare to run a classifier.

        Args:
            classifier: on its target device; `unsupported(classifier)` must return None.
            precision: the number format of the matrix products.
        """
        AttentionInterface.register(ATTENTION, attend)
        self.classifier, self.precision = classifier, precision
        self._model = classifier.module.get_base_model()
        self._position_padding = classifier.family.position_padding(classifier.config)

    def logits(
        self,
        tokens: Tokens,
        rows: np.ndarray,
        seed: int = 0,
        prefix: States | None = None,
    ) -> Tensor:
        """Return logits; see `Execution.logits`."""
        with self.precision.context(self.classifier.device.type):
            return self.classifier.head(self.features(tokens, rows, seed, prefix))

    def features(
        self,
        tokens: Tokens,
        rows: np.ndarray,
        seed: int = 0,  # noqa: ARG002 - as in `logits`
        prefix: States | None = None,
    ) -> Tensor:
        """Return pooled last states; see `Execution.features`."""
        self.classifier.check_tokens(tokens)
        classifier, stack, device = self.classifier, self.classifier.stack, self.classifier.device
        batch = PackedTexts(tokens, rows, self._position_padding)
        lengths = np.diff(batch.offsets)
        texts = TextBounds(
            to_device(torch.from_numpy(batch.offsets), device), int(lengths.min()), int(lengths.max())
        )
        ids, positions = (
            to_device(torch.from_numpy(values.astype(np.int64))[None], device)
            for values in (batch.ids, batch.positions)
        )
        with self.precision.context(device.type), self._jagged_attention():
            if prefix is None:
                states = self._model.base_model(input_ids=ids, position_ids=positions, texts=texts)
            else:
                entering = to_device(prefix.flat_states(rows), device).float()[None]
                with stack.starting_at(classifier.prefix_depth, entering):
                    states = self._model.base_model(input_ids=ids, position_ids=positions, texts=texts)
        last: Tensor = states.last_hidden_state[0].float()
        if classifier.pooling == "first":
            return last.index_select(0, texts.offsets[:-1])
        means: Tensor = torch.segment_reduce(last, "mean", offsets=texts.offsets, axis=0)
        return means

    def prefix_forward(self, tokens: Tokens) -> PrefixForward:
        """Return that of the reference execution: each text runs through these layers only once."""
        return Reference(self.classifier, self.precision).prefix_forward(tokens)

    @contextmanager
    def _jagged_attention(self) -> Iterator[None]:
        """Make the encoder call `attend` inside the block; other callers pass padded batches and a mask."""
        config = self._model.config
        usual = config._attn_implementation  # noqa: SLF001 - transformers has no public name for it
        config._attn_implementation = ATTENTION  # noqa: SLF001
        try:
            yield
        finally:
            config._attn_implementation = usual  # noqa: SLF001


def attend(
    _module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    texts: TextBounds,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend within each text of a packed row; the signature is the one that transformers calls.

    Args:
        _module: the attention module; not used.
        query: [1, heads, T, D], texts end to end.
        key: the same shape.
        value: the same shape.
        _attention_mask: None, because transformers builds no mask for an attention it does not know.
        dropout: share of the attention probabilities that is dropped.
        scaling: factor of the scores; None means 1 / sqrt(D).
        texts: where each text begins.

    Returns:
        [1, T, heads, D], and None in place of the probabilities.
    """
    out = functional.scaled_dot_product_attention(
        texts.jagged(query), texts.jagged(key), texts.jagged(value), dropout_p=dropout, scale=scaling
    )
    return out.transpose(1, 2).values()[None], None
