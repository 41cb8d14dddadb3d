"""The first values of the output layer: a logistic regression on the features of the training texts."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from submillion.data.batches import sequential
from submillion.data.split import stratified_sample
from submillion.data.tokens import Tokens
from submillion.fit.label_names import LabelNames
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.loss import balanced_weights, log_shares
from submillion.fit.plan import TrainingPlan
from submillion.model.protocol import Execution, States
from submillion.run_format.manifest import HeadStartEntry
from submillion.terminal.progress import ProgressOption, progress_bar

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

    from submillion.model.classifier import Classifier

STRENGTH = 1.0
"""C, the inverse of the L2 penalty, for features of mean squared norm 1. On 1,200 held-out training texts of AG News no
other one of 1, 10 and 100 was better with 8 to 250 texts a class, nor one chosen by cross-validation."""
MAX_ITERATIONS = 300
MAX_WORK = 2 * 10**8
"""Rows times classes times features that the regression is fitted on: a tenth of a second an iteration at most."""


@dataclass(frozen=True)
class Probe:
    """A linear map from features to logits; D features, C classes."""

    weight: np.ndarray
    """float32 [C, D]."""
    bias: np.ndarray
    """float32 [C]."""
    rows: int
    """Rows that it was fitted on."""


def start_from_probe(
    execution: Execution, train: LabelledTokens, plan: TrainingPlan, features: np.ndarray
) -> HeadStartEntry:
    """Give the output layer the values of a probe fitted on the training texts; nothing else changes.

    Training the whole from a fitted head distorts the features less than from a random one: A. Kumar et al.,
    "Fine-tuning can distort pretrained features and underperform out-of-distribution", ICLR 2022, arXiv:2202.10054,
    section 3.4 (LP-FT). The names of the labels in `train.names` are rows of the probe too, where they agree with
    the training texts. The probe has the class weights of the training loss; what logit adjustment adds to the logits
    is taken off its bias, so that the loss is that of the probe.

    Args:
        execution: its classifier's output layer is set in place.
        train: the training texts.
        plan: loss, batch size, and the seed of a sample where there are very many rows.
        features: what the layer receives for the training texts, float32 [N, D]; see `head_inputs`.

    Returns:
        The facts, for the manifest.
    """
    classes = len(execution.classifier.label_names)
    names = agreement = None
    if train.names is not None:
        names = _names(execution, train.names, plan.train.eval_batch_size)
        agreement = names.agreement(features, train.labels)
        if not agreement["used"]:
            names = None
    balanced = plan.train.class_weights == "balanced"
    probe = fit_probe(features, train.labels, classes, plan.seed, balanced, names=names)
    bias = probe.bias - plan.train.logit_adjustment * log_shares(train.labels, classes).astype(np.float32)
    layer = output_layer(execution.classifier)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(probe.weight))
        layer.bias.copy_(torch.from_numpy(bias))
    predicted = (features @ probe.weight.T + bias).argmax(axis=1)
    facts: HeadStartEntry = {
        "strength": STRENGTH,
        "rows": probe.rows,
        "training_accuracy": float((predicted == train.labels).mean()),
    }
    return facts if agreement is None else facts | {"label_names": agreement}


def head_inputs(
    execution: Execution,
    tokens: Tokens,
    batch_size: int,
    prefix: States | None = None,
    progress: ProgressOption = False,
) -> np.ndarray:
    """Return what the output layer receives for each text, without dropout, float32 [N, D].

    Args:
        execution: runs the classifier.
        tokens: N texts.
        batch_size: texts per forward pass.
        prefix: cached output of the lower layers for these texts.
        progress: show a bar on standard error.
    """
    classifier = execution.classifier
    lengths = tokens.lengths
    received: list[torch.Tensor] = []
    layer = output_layer(classifier)
    handle = layer.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    outputs = []
    try:
        with classifier.evaluating(), progress_bar(progress, len(lengths), "fitting the head") as advance:
            for rows in sequential(lengths, batch_size, execution.pass_tokens):
                with torch.inference_mode():
                    execution.logits(tokens, rows, prefix=prefix)
                outputs.append((rows, received.pop().float().cpu()))
                advance(len(rows))
    finally:
        handle.remove()
    features = np.empty((len(lengths), outputs[0][1].shape[-1]), dtype=np.float32)
    for rows, values in outputs:
        features[rows] = values.reshape(len(rows), -1).numpy()
    return features


def fit_probe(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    balanced: bool = False,
    strength: float = STRENGTH,
    names: LabelNames | None = None,
) -> Probe:
    """Fit a multinomial logistic regression with an L2 penalty.

    Features are centred and divided by one number, the root of their mean squared norm, so that the penalty means the
    same for every encoder; both are folded into weight and bias.

    Args:
        features: float32 [N, D].
        labels: class index per row, int [N]; at least two classes.
        classes: C; those without a row get weight 0 and a bias that makes them less likely than one row in N would.
        seed: draws the sample where there are more rows than `MAX_WORK` allows.
        balanced: weight classes by the inverse of their rows.
        strength: C, the inverse of the penalty.
        names: further rows, made of the names of the labels.
    """
    most = max(MAX_WORK // (features.shape[1] * classes), 2 * classes)
    rows = stratified_sample(labels.tolist(), most, seed)
    own, truth = features[rows].astype(np.float64), labels[rows]
    centre = own.mean(axis=0)
    own -= centre
    scale = max(float(np.sqrt(np.square(own).sum(axis=1).mean())), 1e-9)
    own /= scale
    weights = balanced_weights(truth, classes)[truth] if balanced else None
    if names is not None:
        of_texts = np.ones(len(truth)) if weights is None else weights
        weights = np.concatenate([of_texts, np.full(len(names.rows), names.weight)])
        own, truth = np.concatenate([own, names.rows]), np.concatenate([truth, names.labels])
    weight, bias = _full(_regression(own, truth, weights, strength), classes, len(rows))
    weight /= scale
    bias -= weight @ centre
    return Probe(weight.astype(np.float32), bias.astype(np.float32), len(rows))


def output_layer(classifier: Classifier) -> torch.nn.Linear:
    """Return the trained layer between the head's last state and the logits."""
    if classifier.output is not None:
        return classifier.output.layer
    module = classifier.module.get_base_model().get_submodule(classifier.family.output)
    copy = getattr(module, "modules_to_save", None)
    layer: torch.nn.Linear = module if copy is None else copy["default"]
    return layer


def _names(execution: Execution, texts: Tokens, batch_size: int) -> LabelNames:
    """Return the names of the labels as the encoder reads them."""
    return LabelNames.of(head_inputs(execution, texts, batch_size), len(execution.classifier.label_names))


def _regression(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, strength: float
) -> LogisticRegression:
    # Loading scikit-learn would delay the first step of every training by a second. It is loaded before the limit
    # below, which applies only to libraries that are loaded.
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    # With one thread, the sums, and so the bits, do not depend on the number of threads.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the start of a training need not be the optimum
        return LogisticRegression(C=strength, max_iter=MAX_ITERATIONS).fit(features, labels, weights)


def _full(model: LogisticRegression, classes: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weight [C, D] and bias [C] of all classes, float64."""
    own, offset = model.coef_, model.intercept_
    if len(own) == 1:  # of two classes scikit-learn has the difference only
        own, offset = np.concatenate([-own, own]) / 2, np.concatenate([-offset, offset]) / 2
    weight = np.zeros((classes, own.shape[1]))
    bias = np.full(classes, float(offset.min()) - np.log(rows + 1))
    weight[model.classes_], bias[model.classes_] = own, offset
    return weight, bias
