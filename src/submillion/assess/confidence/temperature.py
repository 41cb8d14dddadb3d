"""Temperature scaling: one temperature for all probabilities of a classifier."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from submillion.assess.metrics import LEAST_PROBABILITY
from submillion.run_format.analysis_confidence import FittedTemperature
from submillion.run_format.interval import CONFIDENCE, Interval, interval

LOWEST, HIGHEST = 0.05, 20.0
MAX_REACH = 50.0  # in log T: limits further away exceed the range of floats, and tell nothing


def fit(probabilities: np.ndarray, labels: np.ndarray) -> FittedTemperature:
    """Fit the temperature with the least log loss on labelled rows.

    Guo et al. 2017, arXiv:1706.04599, section 4.2: softmax(logits / T). Log probabilities differ from logits by a
    constant per row, to which the softmax is invariant. The loss is convex in 1 / T, so its single minimum between
    T = 0.05 and 20 is found by a bounded search. If every row is right, the loss falls up to a bound; then no
    temperature can be estimated.

    The interval is that of a maximum likelihood estimate under a possibly misspecified model (H. White,
    Econometrica 50 (1982) 1-25, theorem 3.2), computed on the logarithm of T.

    Args:
        probabilities: [N, C], N at least 1.
        labels: class index per row, int [N].
    """
    logits = _logs(probabilities)
    of_label = logits[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        beta = math.exp(-log_temperature)
        return float((logsumexp(beta * logits, axis=1) - beta * of_label).mean())

    bounds = math.log(LOWEST), math.log(HIGHEST)
    best = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7}).x)
    # At a bound, the loss may be flat to the last digit, and the search may stop anywhere on the plateau.
    best = next((bound for bound in bounds if loss(bound) <= loss(best)), best)
    at_bound = min(best - bounds[0], bounds[1] - best) < 1e-3
    temperature = math.exp(best)
    estimate = interval(temperature) if at_bound else _with_limits(logits, of_label, temperature)
    return {**estimate, "rows": len(labels), "at_bound": at_bound}


def scale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities at a temperature, float64 [N, C]; the order of the classes is unchanged."""
    scaled: np.ndarray = softmax(_logs(probabilities) / temperature, axis=1)
    return scaled


def _with_limits(logits: np.ndarray, of_label: np.ndarray, temperature: float) -> Interval:
    """Return the temperature with its limits; they are None if the loss has no curvature, or too little for numbers."""
    scaled = softmax(logits / temperature, axis=1)
    mean = (scaled * logits).sum(axis=1)
    slopes = mean - of_label  # of a row's loss, with respect to 1 / T
    curvature = float(((scaled * logits**2).sum(axis=1) - mean**2).sum())
    if curvature <= 0:
        return interval(temperature)
    error = math.sqrt(float((slopes**2).sum())) / curvature * temperature  # standard error of log T
    reach = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * error
    if reach > MAX_REACH:
        return interval(temperature)
    return interval(temperature, temperature * math.exp(-reach), temperature * math.exp(reach))


def _logs(probabilities: np.ndarray) -> np.ndarray:
    logs: np.ndarray = np.log(np.maximum(probabilities.astype(np.float64), LEAST_PROBABILITY))
    return logs
