"""Tests of an optimizer step: its parts add up to the whole, and each part draws its own dropout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.fit.interrupt import Interrupt
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.step import Stepper
from submillion.fit.workers import Workers
from submillion.model.build import build
from submillion.model.execution.reference import Reference
from submillion.recipe import Recipe
from support.fit_stub import FLOAT32, train_recipe
from support.tiny import LABELS, tiny_encoder, tiny_texts


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"), layers=2)


def stepper_of(encoder: Path, step_tokens: int | None, **train: Any) -> tuple[Stepper, list[tuple[int, int]]]:
    """Return a stepper whose execution limits a pass to `step_tokens`, and the list of (rows, seed) it ran."""
    off = {"dropout": 0.0, "attention_dropout": 0.0, "classifier_dropout": 0.0}
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "encoder": {"source": str(encoder)} | off,
            "data": {"train": "none", "max_length": 32},
            "lora": {"r": 2, "dropout": 0.0},
        }
    )
    classifier = build(encoder, LABELS, recipe).train()
    texts, labels = tiny_texts(48, 1)
    tokens = encode(load_tokenizer(encoder), texts, Truncation(32))
    ran: list[tuple[int, int]] = []

    class Watched(Reference):
        def logits(self, tokens: Any, rows: np.ndarray, seed: int = 0, prefix: Any = None) -> torch.Tensor:
            ran.append((len(rows), seed))
            return super().logits(tokens, rows, seed, prefix)

    execution = Watched(classifier, FLOAT32)
    execution.step_tokens = step_tokens  # type: ignore[assignment]
    fields = train_recipe(batch_size=16, **train)
    return Stepper(execution, LabelledTokens.of(tokens, labels), fields, 3, Workers.start()), ran


@pytest.mark.parametrize("accumulated", [1, 2])
def test_step_in_parts_equals_the_whole_step(encoder: Path, accumulated: int) -> None:
    whole, _ = stepper_of(encoder, None, gradient_accumulation_steps=accumulated)
    parts, ran = stepper_of(encoder, 30, gradient_accumulation_steps=accumulated)
    results = [stepper.step(0, Interrupt()) for stepper in (whole, parts)]
    assert len(ran) > 2 * accumulated
    assert sum(rows for rows, _ in ran) == results[0].texts == results[1].texts == 16 * accumulated
    assert results[1].loss.item() == pytest.approx(results[0].loss.item(), rel=1e-5)
    assert results[1].norm.item() == pytest.approx(results[0].norm.item(), rel=1e-4)


def test_each_part_of_each_step_has_its_own_dropout_seed(encoder: Path) -> None:
    stepper, ran = stepper_of(encoder, 30, gradient_accumulation_steps=2)
    for step in (0, 1):
        stepper.step(step, Interrupt())
    seeds = [seed for _, seed in ran]
    assert len(set(seeds)) == len(seeds) > 8
