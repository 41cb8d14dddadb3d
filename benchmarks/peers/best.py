"""The fastest that transformers and peft do as they come.

What each choice is worth: speed without it by speed with it, roberta-base, rank 8 on query and value, two cores
with AMX, AG News. Rounds that other programs disturbed are left out, so each stands on one to three rounds.

- bfloat16, in autocast and in the stored weights: without both 0.51.
- batches of like length: random ones, padded to their longest text, 0.77.
- frozen weights stored in bfloat16: without 0.94.
- fused AdamW: without 0.99; peft's conversions switched off: without 0.99; denormals flushed: without 1.00. They
  are kept because they cost nothing.
- sdpa attention: eager was within the noise.
- torch.compile is off: one graph for all lengths was not compiled after five minutes on a busy machine, and its
  speed was not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from peft.helpers import disable_input_dtype_casting

from benchmarks.harness import Opened, Setting
from benchmarks.peers.lora import adapted, classifier
from benchmarks.texts import read_texts


def open_training(
    setting: Setting,
    all_linear: bool = False,
    autocast: bool = True,
    grouped: bool = True,
    frozen_bf16: bool = True,
    attention: str = "sdpa",
    fused: bool = True,
    casting: bool = False,
    flush: bool = True,
    compiled: bool = False,
) -> Opened:
    """Train on batches of like length, padded to their longest text.

    Args:
        setting: what all variants share.
        all_linear: adapters on every linear layer.
        autocast: matrix products in bfloat16.
        grouped: batches of like length instead of random ones.
        frozen_bf16: frozen weights are stored in bfloat16, so that no step converts them.
        attention: `sdpa` or `eager`.
        fused: AdamW in one kernel.
        casting: let peft convert every adapter's input to float32, which autocast then converts back.
        flush: treat denormal numbers as zero.
        compiled: torch.compile; one graph for all lengths.
    """
    if flush:
        torch.set_flush_denormal(True)
    texts = read_texts(setting)
    model = adapted(classifier(setting.encoder, attn_implementation=attention), all_linear)
    trained = [value for value in model.parameters() if value.requires_grad]
    if frozen_bf16:
        for value in model.parameters():
            if not value.requires_grad:
                value.data = value.data.bfloat16()
    optimizer = torch.optim.AdamW(trained, lr=3e-4, fused=fused)
    forward = torch.compile(model, dynamic=True) if compiled else model

    def step(rows: Sequence[int]) -> None:
        batch = texts.padded(rows)
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=autocast),
            nullcontext() if casting else disable_input_dtype_casting(model),
        ):
            loss = forward(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    batches = texts.grouped if grouped else texts.mixed
    # A compiled model meets every length once before it is timed.
    warm_up = [texts.longest, *(batches if compiled else batches[:1])]
    return Opened(step, batches, warm_up, {"tokens_per_text": texts.tokens_per_text})


def open_inference(setting: Setting) -> Opened:
    """Predict texts sorted by length, the adapters merged, weights and arithmetic in bfloat16."""
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
