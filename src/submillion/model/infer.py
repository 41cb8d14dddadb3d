"""Runs a classifier over tokens without training it: logits, features and probabilities in input order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from submillion.data.batches import sequential
from submillion.errors import SubmillionError
from submillion.terminal.progress import ProgressOption, progress_bar

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.protocol import Execution, States


def predict_logits(
    execution: Execution,
    tokens: Tokens,
    batch_size: int,
    prefix: States | None = None,
    progress: ProgressOption = False,
) -> np.ndarray:
    """Return logits, float32 [N, C], rows in input order, without dropout.

    Calls from several threads on one classifier run one after the other. The classifier's training mode is restored.

    Args:
        execution: how to run the classifier.
        tokens: N tokenized texts.
        batch_size: texts per forward pass; an execution with `pass_tokens` joins batches. A batch holds texts of
            similar length.
        prefix: the cached hidden states of these tokens, if any.
        progress: True shows a bar on stderr; a callable receives the number of rows done since its last call.

    Raises:
        SubmillionError: a logit is not a finite number; the message names the rows.
    """
    classifier = execution.classifier
    lengths = np.diff(tokens.offsets)
    logits = np.empty((len(lengths), len(classifier.label_names)), dtype=np.float32)
    # Copied to the CPU at the end: a copy after each batch would wait for the accelerator.
    outputs: list[tuple[np.ndarray, torch.Tensor]] = []
    with classifier.evaluating(), progress_bar(progress, len(lengths), "predicting") as advance:
        for rows in sequential(lengths, batch_size, execution.pass_tokens):
            with torch.inference_mode():
                outputs.append((rows, execution.logits(tokens, rows, prefix=prefix)))
            advance(len(rows))
    for rows, values in outputs:
        logits[rows] = values.cpu().numpy()
    _check_finite(logits)
    return logits


def predict_features(
    execution: Execution,
    tokens: Tokens,
    batch_size: int,
    rows: np.ndarray | None = None,
    prefix: States | None = None,
    progress: ProgressOption = False,
) -> np.ndarray:
    """Return what the head reads of some texts, without dropout, float32 [rows, D]; see `Execution.features`.

    Args:
        execution: as in `predict_logits`.
        tokens: N tokenized texts.
        batch_size: as in `predict_logits`.
        rows: indices of the texts to read, in the order of the result; None reads all N.
        prefix: as in `predict_logits`.
        progress: as in `predict_logits`.
    """
    classifier = execution.classifier
    rows = np.arange(len(tokens)) if rows is None else rows
    features = np.empty((len(rows), classifier.hidden_size), dtype=np.float32)
    with (
        classifier.evaluating(),
        torch.inference_mode(),
        progress_bar(progress, len(rows), "reading with the encoder") as advance,
    ):
        for places in sequential(tokens.lengths[rows], batch_size, execution.pass_tokens):
            features[places] = execution.features(tokens, rows[places], prefix=prefix).cpu().numpy()
            advance(len(places))
    return features


def predict_probabilities(
    execution: Execution, tokens: Tokens, batch_size: int, progress: ProgressOption = False
) -> np.ndarray:
    """Return class probabilities, float32 [N, C]: the softmax of `predict_logits`."""
    return probabilities_of(predict_logits(execution, tokens, batch_size, progress=progress))


def probabilities_of(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits [N, C], computed in float64, as float32."""
    from scipy.special import softmax  # noqa: PLC0415 - training's first step does not wait for it

    probabilities: np.ndarray = softmax(logits.astype(np.float64), axis=1).astype(np.float32)
    return probabilities


def _check_finite(logits: np.ndarray) -> None:
    rows = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(rows):
        some = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
        raise SubmillionError(
            f"{len(rows)} of {len(logits)} rows have logits that are not finite numbers (rows {some}; the "
            "first is row 0). The training diverged, or the weights are damaged: lower train.learning_rate, "
            "or train in float32."
        )
