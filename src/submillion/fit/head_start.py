"""The first values of the output layer: a logistic regression on the features of the training texts."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from submillion.data.batches import sequential
from submillion.data.folds import fold_numbers, most_folds
from submillion.data.split import stratified_sample
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.model.protocol import Execution
from submillion.run_format.manifest import HeadStartEntry
from submillion.terminal.progress import ProgressOption, progress_bar

if TYPE_CHECKING:
    from submillion.model.classifier import Classifier

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
FIXED = 10.0
"""C where no class has the rows for a choice."""
FOLDS = 5
MAX_ITERATIONS = 300
CHOICE_ROWS = 2_000
"""Rows that choose the strength at most."""
MAX_WORK = 2 * 10**8
"""Rows times classes times features that the regression is fitted on: a tenth of a second an iteration at most."""


@dataclass(frozen=True)
class Probe:
    """A linear map from features to logits; D features, C classes."""

    weight: np.ndarray
    """float32 [C, D]."""
    bias: np.ndarray
    """float32 [C]."""
    strength: float
    """C of the logistic regression, the inverse of its L2 penalty."""
    rows: int
    """Rows that it was fitted on."""


def start_from_probe(
    execution: Execution, train: LabelledTokens, seed: int, batch_size: int, progress: ProgressOption = False
) -> HeadStartEntry:
    """Give the output layer the values of a probe fitted on the training texts; nothing else changes.

    Training the whole from a fitted head distorts the features less than from a random one: A. Kumar et al.,
    "Fine-tuning can distort pretrained features and underperform out-of-distribution", ICLR 2022, arXiv:2202.10054,
    section 3.4 (LP-FT).

    Args:
        execution: its classifier's output layer is set in place.
        train: the training texts.
        seed: draws the folds that choose the strength, and the sample where there are very many rows.
        batch_size: texts per forward pass.
        progress: show a bar on standard error.

    Returns:
        The facts, for the manifest.
    """
    features = head_inputs(execution, train, batch_size, progress)
    classes = len(execution.classifier.label_names)
    probe = fit_probe(features, train.labels, classes, seed, _names(train))
    layer = output_layer(execution.classifier)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(probe.weight))
        layer.bias.copy_(torch.from_numpy(probe.bias))
    predicted = (features @ probe.weight.T + probe.bias).argmax(axis=1)
    return {
        "strength": probe.strength,
        "rows": probe.rows,
        "training_accuracy": float((predicted == train.labels).mean()),
    }


def head_inputs(
    execution: Execution, texts: LabelledTokens, batch_size: int, progress: ProgressOption = False
) -> np.ndarray:
    """Return what the output layer receives for each text, without dropout, float32 [N, D].

    Args:
        execution: runs the classifier.
        texts: N texts.
        batch_size: texts per forward pass.
        progress: show a bar on standard error.
    """
    classifier = execution.classifier
    lengths = texts.tokens.lengths
    received: list[torch.Tensor] = []
    layer = output_layer(classifier)
    handle = layer.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    outputs = []
    try:
        with classifier.evaluating(), progress_bar(progress, len(lengths), "fitting the head") as advance:
            for rows in sequential(lengths, batch_size, execution.pass_tokens):
                with torch.inference_mode():
                    execution.logits(texts.tokens, rows, prefix=texts.prefix)
                outputs.append((rows, received.pop().float().cpu()))
                advance(len(rows))
    finally:
        handle.remove()
    features = np.empty((len(lengths), outputs[0][1].shape[-1]), dtype=np.float32)
    for rows, values in outputs:
        features[rows] = values.reshape(len(rows), -1).numpy()
    return features


def fit_probe(
    features: np.ndarray, labels: np.ndarray, classes: int, seed: int, names: Sequence[str]
) -> Probe:
    """Fit a multinomial logistic regression whose strength is chosen by cross-validation on the same rows.

    Features are centred and divided by one number, the root of their mean squared norm, so that a strength means the
    same for every encoder; both are folded into weight and bias. The strength of the lowest loss on held-out rows is
    taken, the smallest of equal ones.

    Args:
        features: float32 [N, D].
        labels: class index per row, int [N]; at least two classes.
        classes: C; those without a row get weight 0 and a bias that makes them less likely than one row in N would.
        seed: draws folds, and the sample where there are more rows than `MAX_WORK` allows.
        names: name of each row's text [N]; rows of one name are held out together.
    """
    most = max(MAX_WORK // (features.shape[1] * classes), 2 * classes)
    rows = stratified_sample(labels.tolist(), most, seed)
    own, truth = features[rows].astype(np.float64), labels[rows]
    centre = own.mean(axis=0)
    own -= centre
    scale = max(float(np.sqrt(np.square(own).sum(axis=1).mean())), 1e-9)
    own /= scale
    with threadpool_limits(1):  # the sums, and so the bits, do not depend on the number of threads
        strength = _strength(own, truth, seed, [names[row] for row in rows])
        weight, bias = _full(_regression(own, truth, strength), classes, len(rows))
    weight /= scale
    bias -= weight @ centre
    return Probe(weight.astype(np.float32), bias.astype(np.float32), strength, len(rows))


def output_layer(classifier: Classifier) -> torch.nn.Linear:
    """Return the trained layer between the head's last state and the logits."""
    module = classifier.module.get_base_model().get_submodule(classifier.family.output)
    copy = getattr(module, "modules_to_save", None)
    layer: torch.nn.Linear = module if copy is None else copy["default"]
    return layer


def _names(texts: LabelledTokens) -> list[str]:
    """Return a name of each text that is the same for equal tokens."""
    ids, offsets = texts.tokens.ids, texts.tokens.offsets
    return [ids[start:end].tobytes().hex() for start, end in itertools.pairwise(offsets.tolist())]


def _strength(features: np.ndarray, labels: np.ndarray, seed: int, names: Sequence[str]) -> float:
    """Return the strength with the lowest log loss on held-out rows; `FIXED` if no class has two texts."""
    rows = stratified_sample(labels.tolist(), CHOICE_ROWS, seed)
    features, labels = features[rows], labels[rows]
    chosen = [names[row] for row in rows]
    folds = min(FOLDS, most_folds(labels.tolist(), chosen))
    if folds < 2:
        return FIXED
    held_out = fold_numbers(labels.tolist(), chosen, folds, seed)
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for fold in range(folds):
        fitted, scored = held_out != fold, held_out == fold
        for strength in STRENGTHS:
            model = _regression(features[fitted], labels[fitted], strength)
            places = np.searchsorted(model.classes_, labels[scored])
            likelihood = model.predict_proba(features[scored])[np.arange(len(places)), places]
            losses[strength] -= float(np.log(np.maximum(likelihood, 1e-12)).sum())
    return min(STRENGTHS, key=lambda strength: losses[strength])


def _regression(features: np.ndarray, labels: np.ndarray, strength: float) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the start of a training need not be the optimum
        return LogisticRegression(C=strength, max_iter=MAX_ITERATIONS).fit(features, labels)


def _full(model: LogisticRegression, classes: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weight [C, D] and bias [C] of all classes, float64."""
    own, offset = model.coef_, model.intercept_
    if len(own) == 1:  # of two classes scikit-learn has the difference only
        own, offset = np.concatenate([-own, own]) / 2, np.concatenate([-offset, offset]) / 2
    weight = np.zeros((classes, own.shape[1]))
    bias = np.full(classes, float(offset.min()) - np.log(rows + 1))
    weight[model.classes_], bias[model.classes_] = own, offset
    return weight, bias
