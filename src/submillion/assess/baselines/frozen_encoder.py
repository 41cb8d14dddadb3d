"""Features of texts from a run's encoder without its adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from submillion import notices
from submillion.assess.run_context import RunContext
from submillion.data.batches import collate, sequential
from submillion.data.tokens import Tokens, encode, load_tokenizer
from submillion.model.loading import load_encoder
from submillion.model.precision import Precision, choose_precision, training_device
from submillion.model.process_state import seeded
from submillion.model.trained import check_same_weights
from submillion.progress import progress_bar
from submillion.sources.fetch import fetch_encoder


def frozen_encoder(context: RunContext) -> Callable[[Sequence[str]], np.ndarray]:
    """Open the run's encoder without its adapter.

    Returns:
        A function from N texts to the mean over tokens of their last hidden states, float32 [N, D].

    Raises:
        BadInput: the encoder is missing or is not the one that the run was trained on.
    """
    recorded, recipe = context.manifest["encoder"], context.recipe
    # The notices about encoder and machine were given when the run was trained.
    with notices.suppressed(), seeded(recipe.seed):
        source = context.run.located(recorded["source"])
        fetched = fetch_encoder(source, recorded.get("revision"), context.progress)
        check_same_weights(context.run, recorded["sha256"], fetched)
        # Not the run's classifier with its adapter switched off: trained biases would stay changed.
        loaded = load_encoder(fetched.path, context.labels, str(fetched.path))
        precision = choose_precision(recipe.train.precision)
    encoder = loaded.model.base_model.to(training_device()).eval()
    tokenizer = load_tokenizer(context.run.tokenizer)

    def features(texts: Sequence[str]) -> np.ndarray:
        tokens = encode(tokenizer, list(texts), recipe.data.max_length)
        return _means(encoder, tokens, recipe.train.eval_batch_size, precision, context.progress)

    return features


def _means(encoder: Any, tokens: Tokens, batch_size: int, precision: Precision, progress: bool) -> np.ndarray:
    device, config = next(encoder.parameters()).device, encoder.config
    features = np.empty((len(tokens), int(config.hidden_size)), dtype=np.float32)
    with (
        torch.inference_mode(),
        precision.context(device.type),
        progress_bar(progress, len(tokens), "reading with the frozen encoder") as advance,
    ):
        for rows in sequential(tokens.lengths, batch_size):
            batch = {
                name: value.to(device) for name, value in collate(tokens, rows, config.pad_token_id).items()
            }
            states = encoder(**batch).last_hidden_state.float()
            mask = batch["attention_mask"][:, :, None]
            features[rows] = ((states * mask).sum(dim=1) / mask.sum(dim=1)).cpu().numpy()
            advance(len(rows))
    return features
