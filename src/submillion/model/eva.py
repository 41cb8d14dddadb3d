"""EVA: the adapters' A begin as the principal directions of what their matrices are fed with on training texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peft.tuners.lora import LoraLayer

from submillion import notices
from submillion.data.batches import collate
from submillion.errors import BadInput, Problem
from submillion.model.classifier import seeded
from submillion.model.infer import evaluating

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier

TOKENS = 4096  # of the sample; ffn_down of roberta-base then takes 50 MB while it is decomposed
OVERSAMPLING = 2  # directions sought for each one wanted, as peft's EVA does
ITERATIONS = 4


def start(classifier: Classifier, tokens: Tokens, seed: int) -> None:
    """Set each A of the encoder to the leading right-singular vectors of its matrix's centred inputs.

    Paischer et al. 2024 (arXiv:2410.07170, section 3.2) with rho = 1: every adapter keeps its rank, so that the
    count stands. Where peft goes on batch by batch until the directions of each matrix settle, one sample of
    some thousand tokens is decomposed here, so that the time it takes is known. B stays zero; the head's
    adapter, which sees one state of each text, stays as it was drawn.

    Args:
        classifier: just built, on its device.
        tokens: the training texts.
        seed: decides the sample and what the decomposition draws; with the texts, every value.

    Raises:
        BadInput: the training texts have fewer tokens than an adapter has ranks.
    """
    rows = _sample(tokens.lengths, seed)
    batch = collate(tokens, rows, classifier.pad_id)
    present = batch["attention_mask"].bool().to(classifier.device)
    layers = [module for module in classifier.stack.layers.modules() if isinstance(module, LoraLayer)]
    most = max((layer.r["default"] for layer in layers), default=0)
    if int(present.sum()) <= most:
        found = f"{int(present.sum())} tokens in {len(rows)} training texts"
        raise BadInput(Problem("lora.variant eva", f"more than lora.r = {most} tokens", found))

    def decompose(layer: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        # On the cpu, whose generator `seeded` seeds: what svd_lowrank draws is then the same on every device.
        states = inputs[0][present].float().cpu()
        wanted = layer.r["default"]
        sought = min(OVERSAMPLING * wanted, *states.shape)
        _, _, directions = torch.svd_lowrank(states - states.mean(dim=0), q=sought, niter=ITERATIONS)
        layer.lora_A["default"].weight.copy_(directions[:, :wanted].T)

    handles = [layer.register_forward_pre_hook(decompose) for layer in layers]
    try:
        with seeded(seed), torch.no_grad(), evaluating(classifier):
            classifier({name: tensor.to(classifier.device) for name, tensor in batch.items()})
    finally:
        for handle in handles:
            handle.remove()
    notices.emit(
        "eva",
        f"adapters begin from {int(present.sum()):,} tokens of {len(rows):,} training texts (EVA)",
        rows=len(rows),
        tokens=int(present.sum()),
    )


def _sample(lengths: np.ndarray, seed: int) -> np.ndarray:
    """Return rows drawn without replacement: as many as TOKENS holds, padding counted, and one at least."""
    rows = np.random.default_rng(seed).permutation(len(lengths))
    padded = np.maximum.accumulate(lengths[rows]) * np.arange(1, len(rows) + 1)
    return rows[: max(1, int((padded <= TOKENS).sum()))]
