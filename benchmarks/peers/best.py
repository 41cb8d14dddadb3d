"""The fastest training and prediction with unmodified transformers and peft.

The value of each choice, as speed without it divided by speed with it: roberta-base, rank 8 on query and value, two
cores with AMX, AG News. Rounds disturbed by other programs are left out, so each number is from one to three rounds.

- bfloat16, in autocast and in the stored weights: 0.51 without both.
- batches of similar length: 0.77 with random ones, padded to their longest text.
- frozen weights stored in bfloat16: 0.94.
- fused AdamW 0.99, peft's input conversion off 0.99, denormals flushed 1.00; used because they cost nothing.
- sdpa attention: no difference from eager beyond the noise.
- torch.compile is off: one graph for all lengths did not finish compiling within five minutes on a busy machine, so its
  speed was not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting

from benchmarks.peers.lora import adapted, classifier
from benchmarks.texts import read_texts
from benchmarks.variants import Opened, Setting


@dataclass(frozen=True)
class Choices:
    """The choices of the training; the defaults are the fastest."""

    autocast: bool = True
    """Matrix products in bfloat16."""
    grouped: bool = True
    """Batches of similar length instead of random ones."""
    frozen_bf16: bool = True
    """Store frozen weights in bfloat16, so that no step converts them."""
    attention: str = "sdpa"
    """`sdpa` or `eager`."""
    fused: bool = True
    """AdamW in one kernel."""
    casting: bool = False
    """Let peft convert every adapter's input to float32, which autocast converts back."""
    flush: bool = True
    """Treat denormal numbers as zero."""
    compiled: bool = False
    """Use torch.compile with one graph for all lengths."""


def open_training(setting: Setting, all_linear: bool = False, rank: int = 6, **changes: Any) -> Opened:
    """Train on batches padded to their longest text.

    Args:
        setting: what all variants share.
        all_linear: adapters on every linear layer.
        rank: of those adapters.
        changes: fields of `Choices` that differ from the fastest.
    """
    choices = Choices(**changes)
    if choices.flush:
        torch.set_flush_denormal(True)
    texts = read_texts(setting)
    model = adapted(classifier(setting.encoder, attn_implementation=choices.attention), all_linear, rank)
    trained = [value for value in model.parameters() if value.requires_grad]
    if choices.frozen_bf16:
        for value in model.parameters():
            if not value.requires_grad:
                value.data = value.data.bfloat16()
    optimizer = torch.optim.AdamW(trained, lr=3e-4, fused=choices.fused)
    forward = torch.compile(model, dynamic=True) if choices.compiled else model

    def step(rows: Sequence[int]) -> None:
        batch = texts.padded(rows)
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=choices.autocast),
            nullcontext() if choices.casting else disable_input_dtype_casting(model),
        ):
            loss = forward(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    batches = texts.grouped if choices.grouped else texts.mixed
    # A compiled model runs every length once before it is timed.
    warm_up = [texts.longest, *(batches if choices.compiled else batches[:1])]
    return Opened(step, batches, warm_up, {"tokens_per_text": texts.tokens_per_text})


def open_inference(setting: Setting) -> Opened:
    """Predict batches of similar length with merged adapters, in bfloat16 weights and arithmetic."""
    torch.set_flush_denormal(True)
    texts = read_texts(setting)
    model = adapted(classifier(setting.encoder)).merge_and_unload().eval().bfloat16()

    def step(rows: Sequence[int]) -> None:
        batch = texts.padded(rows)
        del batch["labels"]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            model(**batch)

    warm_up = [texts.longest, texts.grouped[0]]
    return Opened(step, texts.grouped, warm_up, {"tokens_per_text": texts.tokens_per_text})
