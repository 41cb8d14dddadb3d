"""The usual script: transformers and peft as in their examples, float32, every text padded to 128 tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.peers.lora import adapted, classifier
from benchmarks.texts import read_texts
from benchmarks.variants import Opened, Setting


def open_training(setting: Setting, all_linear: bool = False, rank: int = 6) -> Opened:
    """Train on random batches; `rank` is that of adapters on every linear layer."""
    texts = read_texts(setting)
    model = adapted(classifier(setting.encoder), all_linear, rank)
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=3e-4)

    def step(rows: Sequence[int]) -> None:
        loss = model(**texts.padded(rows, setting.max_length)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    # All batches have the same width and take the same time, so a quarter of them is enough.
    batches = texts.mixed[: max(1, len(texts.mixed) // 4)]
    return Opened(step, batches, [texts.longest, batches[0]], {"tokens_per_text": texts.tokens_per_text})


def open_inference(setting: Setting, by_length: bool = False) -> Opened:
    """Predict with the adapters merged into the weights, each batch padded to its longest text.

    Args:
        setting: what all variants share.
        by_length: batches of similar length, as few scripts use, instead of batches in input order.
    """
    texts = read_texts(setting)
    model = adapted(classifier(setting.encoder)).merge_and_unload().eval()

    def step(rows: Sequence[int]) -> None:
        batch = texts.padded(rows)
        del batch["labels"]
        with torch.inference_mode():
            model(**batch)

    batches = texts.grouped if by_length else texts.mixed
    return Opened(step, batches, [texts.longest, batches[0]], {"tokens_per_text": texts.tokens_per_text})
