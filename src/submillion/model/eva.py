"""EVA: initialises each adapter's A with the principal directions of its matrix's inputs on training texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peft.tuners.lora import LoraLayer

from submillion import notices
from submillion.data.batches import collate
from submillion.errors import BadInput, Problem
from submillion.model.process_state import seeded

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier

TOKENS = 4096  # in the sample; decomposing the inputs of roberta-base's ffn_down then takes 50 MB
OVERSAMPLING = 2  # directions computed per direction used, as in peft's EVA
ITERATIONS = 4


def start(classifier: Classifier, tokens: Tokens, seed: int) -> None:
    """Set each A of the encoder to the leading right-singular vectors of its matrix's centred inputs.

    Paischer et al. 2024 (arXiv:2410.07170, section 3.2) with rho = 1: every adapter keeps its rank, so the parameter
    count does not change. peft processes batch after batch until the directions of each matrix converge; here one
    sample of some thousand tokens is decomposed, so the time is known in advance. B stays zero. The head's adapter,
    which sees one state per text, keeps its random initialisation.

    Args:
        classifier: just built, on its target device.
        tokens: the training texts.
        seed: seed of the sample and of the randomised decomposition.

    Raises:
        BadInput: the training texts have no more tokens than the largest rank of an adapter.
    """
    tokens = tokens.as_windows()
    classifier.check_tokens(tokens)
    rows = _sample(tokens.lengths, seed)
    batch = collate(tokens, rows, classifier.pad_id)
    present = batch["attention_mask"].bool().to(classifier.device)
    layers = [module for module in classifier.stack.layers.modules() if isinstance(module, LoraLayer)]
    max_rank = max((layer.r["default"] for layer in layers), default=0)
    n_tokens = int(present.sum())
    if n_tokens <= max_rank:
        sample = f"{n_tokens} tokens in {len(rows)} training texts"
        raise BadInput(Problem("lora.variant eva", f"more than lora.r = {max_rank} tokens", sample))

    def decompose(layer: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        # On the CPU, whose generator `seeded` seeds: svd_lowrank then draws the same numbers for every device.
        states = inputs[0][present].float().cpu()
        rank = layer.r["default"]
        n_directions = min(OVERSAMPLING * rank, *states.shape)
        _, _, directions = torch.svd_lowrank(states - states.mean(dim=0), q=n_directions, niter=ITERATIONS)
        layer.lora_A["default"].weight.copy_(directions[:, :rank].T)

    handles = [layer.register_forward_pre_hook(decompose) for layer in layers]
    try:
        with seeded(seed), torch.no_grad(), classifier.evaluating():
            classifier({name: tensor.to(classifier.device) for name, tensor in batch.items()})
    finally:
        for handle in handles:
            handle.remove()
    notices.emit(
        "eva",
        f"adapters initialised from {n_tokens:,} tokens of {len(rows):,} training texts (EVA)",
        rows=len(rows),
        tokens=n_tokens,
    )


def _sample(lengths: np.ndarray, seed: int) -> np.ndarray:
    """Return rows drawn without replacement: as many as fit in TOKENS tokens with padding, and at least one."""
    rows = np.random.default_rng(seed).permutation(len(lengths))
    padded = np.maximum.accumulate(lengths[rows]) * np.arange(1, len(rows) + 1)
    return rows[: max(1, int((padded <= TOKENS).sum()))]
