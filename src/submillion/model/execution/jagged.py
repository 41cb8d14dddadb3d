"""The packed execution of a GPU: a batch's tokens end to end through transformers, attention text by text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from submillion.model.execution.packed_texts import PackedTexts
from submillion.model.execution.transfer import moved

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.precision import Precision
    from submillion.model.prefix import PrefixCache

ATTENTION = "submillion_jagged"
"""The name under which transformers knows the attention below."""
FAMILIES = ("bert", "roberta", "xlm-roberta", "electra", "distilbert")
"""Families whose every layer hands its attention, and what the model was called with, to a named function."""


def unsupported(classifier: Classifier) -> str | None:
    """Return why a classifier's encoder cannot run on packed tokens, or None where it can."""
    family = classifier.family.name
    if family not in FAMILIES:
        return f"{family} encoders in transformers cannot be given another attention"
    config = classifier.module.get_base_model().config
    kind = getattr(config, "position_embedding_type", "absolute")
    if getattr(config, "is_decoder", False) or kind not in ("absolute", None):
        return "the encoder's attention is of another kind"
    return None


@dataclass(frozen=True)
class Texts:
    """Where each text of a batch begins among its tokens."""

    offsets: Tensor
    """int64 [B + 1], on the model's device: text i has the tokens offsets[i] to offsets[i + 1]."""
    shortest: int
    longest: int
    """Tokens of the shortest and the longest text: known here, the kernels need not ask the device."""

    def jagged(self, values: Tensor) -> Tensor:
        """Return values [1, heads, T, D] as a tensor of texts [B, heads, their tokens, D]."""
        end_to_end = values.transpose(1, 2).squeeze(0).contiguous()
        return torch.nested.nested_tensor_from_jagged(
            end_to_end, self.offsets, min_seqlen=self.shortest, max_seqlen=self.longest
        ).transpose(1, 2)


class PackedSdpa:
    """Runs the modules of transformers and peft on one row of all tokens of a batch; nothing is padded.

    Linear layers, norms and adapters do not look from token to token, so they need not know that the row is of
    many texts. Attention does: transformers is given a function for it (its AttentionInterface) that takes torch's
    scaled_dot_product_attention on jagged tensors, on CUDA the variable-length kernels of FlashAttention in
    bfloat16 and of memory-efficient attention in float32. Dropout is torch's, from torch's generator.
    """

    name = "packed-sdpa"
    step_tokens = None
    pass_tokens = None

    def __init__(self, classifier: Classifier, precision: Precision) -> None:
        """Prepare; the classifier is one that `unsupported` has no word against, and on its device."""
        from transformers import AttentionInterface

        AttentionInterface.register(ATTENTION, attend)
        self._classifier, self._precision = classifier, precision
        self._model = classifier.module.get_base_model()
        # RoBERTa counts positions from the padding index + 1 and skips that token; the others count from 0.
        embeddings = classifier.stack.feeders[0]
        skips = classifier.family.name in ("roberta", "xlm-roberta")
        self._padding_index = int(embeddings.padding_idx) if skips else None  # type: ignore[arg-type]

    def logits(
        self, tokens: Tokens, rows: np.ndarray, seed: int = 0, prefix: PrefixCache | None = None
    ) -> Tensor:
        """Return logits as `Execution.logits` says."""
        classifier, stack, device = self._classifier, self._classifier.stack, self._classifier.device
        batch = PackedTexts(tokens, rows, self._padding_index)
        lengths = np.diff(batch.offsets)
        texts = Texts(moved(torch.from_numpy(batch.offsets), device), int(lengths.min()), int(lengths.max()))
        ids, positions = (
            moved(torch.from_numpy(values.astype(np.int64))[None], device)
            for values in (batch.ids, batch.positions)
        )
        with self._precision.context(device.type), self._attention():
            if prefix is None:
                states = self._model.base_model(input_ids=ids, position_ids=positions, texts=texts)
            else:
                entering = moved(prefix.flat_states(rows), device).float()[None]
                with stack.starting_at(classifier.prefix_depth, entering):
                    states = self._model.base_model(input_ids=ids, position_ids=positions, texts=texts)
            first = states.last_hidden_state[0].index_select(0, texts.offsets[:-1])
            return classifier.head(first)

    def states_of(self, tokens: Tokens) -> None:
        """Return None: the cache runs the modules of transformers by itself, once per text."""

    @contextmanager
    def _attention(self) -> Iterator[None]:
        """Make the encoder take `attend`; what else runs the classifier gives it padded batches and a mask."""
        config = self._model.config
        usual = config._attn_implementation
        config._attn_implementation = ATTENTION
        try:
            yield
        finally:
            config._attn_implementation = usual


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    texts: Texts,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend within each text of a packed row, as transformers calls such a function.

    Args:
        query, key, value: [1, heads, T, D], texts end to end.
        attention_mask: None, as transformers makes no mask for an attention it has none for.
        dropout: share of the attention probabilities that is dropped.
        scaling: of the scores; None is 1 / sqrt(D).
        texts: where each text begins.

    Returns:
        [1, T, heads, D], and no probabilities.
    """
    out = functional.scaled_dot_product_attention(
        texts.jagged(query), texts.jagged(key), texts.jagged(value), dropout_p=dropout, scale=scaling
    )
    return out.transpose(1, 2).values()[None], None
