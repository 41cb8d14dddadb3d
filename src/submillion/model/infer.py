"""Runs a classifier over tokens without training it: logits and probabilities in input order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from submillion.data.batches import sequential
from submillion.errors import SubmillionError
from submillion.model.execution.reference import Reference

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.classifier import Classifier
    from submillion.model.execution.reference import Execution
    from submillion.model.precision import Precision
    from submillion.model.prefix import PrefixCache

Progress = bool | Callable[[int], Any]


def predict_logits(
    classifier: Classifier,
    tokens: Tokens,
    batch_size: int,
    precision: Precision,
    prefix: PrefixCache | None = None,
    progress: Progress = False,
    execution: Execution | None = None,
) -> np.ndarray:
    """Return logits, float32 [N, C], rows in input order; dropout off, the training mode is put back after.

    Args:
        tokens: N tokenized texts.
        batch_size: texts per forward pass, or more where the execution joins batches; they are of like length.
        precision: as `precision.choose` gave it.
        prefix: the cached hidden states of these tokens, if there are any.
        progress: True draws a bar on stderr; a callable is called with the rows done since the last call.
        execution: how to run the classifier; None takes the reference execution.

    Raises:
        SubmillionError: a logit is not a finite number; the rows are named.
    """
    lengths = np.diff(tokens.offsets)
    logits = np.empty((len(lengths), len(classifier.label_names)), dtype=np.float32)
    run = execution or Reference(classifier, precision)
    # Fetched at the end: an accelerator would be waited for after every batch.
    found: list[tuple[np.ndarray, torch.Tensor]] = []
    with evaluating(classifier), advancing(progress, len(lengths), "predicting") as advance:
        for rows in sequential(lengths, batch_size, run.pass_tokens):
            with torch.inference_mode():
                found.append((rows, run.logits(tokens, rows, prefix=prefix)))
            advance(len(rows))
    for rows, values in found:
        logits[rows] = values.cpu().numpy()
    _refuse_non_finite(logits)
    return logits


def predict_probabilities(
    classifier: Classifier,
    tokens: Tokens,
    batch_size: int,
    precision: Precision,
    progress: Progress = False,
    execution: Execution | None = None,
) -> np.ndarray:
    """Return class probabilities, float32 [N, C]: `probabilities_of` what `predict_logits` gives."""
    return probabilities_of(
        predict_logits(classifier, tokens, batch_size, precision, progress=progress, execution=execution)
    )


def probabilities_of(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits [N, C], taken in float64, as float32."""
    logits = logits.astype(np.float64)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


@contextmanager
def evaluating(classifier: Classifier) -> Iterator[None]:
    """Switch dropout off inside, and back to what it was after, also on an error."""
    was_training = classifier.training
    classifier.eval()
    try:
        yield
    finally:
        classifier.train(was_training)


@contextmanager
def advancing(progress: Progress, total: int, text: str) -> Iterator[Callable[[int], Any]]:
    """Give a function to be called with the rows done: the caller's own, a bar on stderr, or nothing."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda rows: bar.advance(task, rows)


def _refuse_non_finite(logits: np.ndarray) -> None:
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken):
        some = ", ".join(map(str, broken[:10])) + (", ..." if len(broken) > 10 else "")
        raise SubmillionError(
            f"{len(broken)} of {len(logits)} rows have logits that are not finite numbers (rows {some}; the "
            "first is row 0). The training diverged, or the weights are damaged: lower train.learning_rate, "
            "or train in float32."
        )
